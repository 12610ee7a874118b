"""Writes the trained weights as GGUF v3: matrices Q8_0, norms F32, vocabulary, chat template.

    python3 export.py OUT_DIR/refined.npz OUT_DIR/tokenizer.json ../demo.gguf

The rotary pairs are trained interleaved, which is what the architecture `llama` means in GGUF, so nothing is permuted.
"""

import json
import sys

import gguf
import numpy as np

from model import Shape
from tokenizer import BOS_ID, END_ID, FIRST_SPECIAL, PAD_ID, VOCABULARY

# No line breaks and no BOS: the tokenizer adds the BOS (add_bos_token), and the roles are single tokens.
TEMPLATE = """{%- for message in messages %}
    {%- if message['role'] in ['system', 'developer'] %}{{- '<|system|>' }}
    {%- elif message['role'] == 'assistant' %}{{- '<|assistant|>' }}
    {%- else %}{{- '<|user|>' }}
    {%- endif %}
    {%- if message['content'] is string %}{{- message['content'] | trim }}
    {%- else %}
        {%- for part in message['content'] or [] %}
            {%- if part['type'] == 'text' %}{{- part['text'] | trim }}{%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"""


def write_settings(out, shape):
    """General and architecture keys."""
    out.add_name("llcuda-demo")
    out.add_description("A tiny model of a small made-up world, trained by the llcuda project on text that its own script writes")
    out.add_license("MIT OR Apache-2.0")
    out.add_size_label("5M")
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.hidden)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.ffn)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.kv_heads)
    out.add_rope_dimension_count(shape.head_dim)
    out.add_rope_freq_base(shape.theta)
    out.add_layer_norm_rms_eps(shape.eps)
    out.add_vocab_size(shape.vocabulary)


def write_vocabulary(out, path):
    """Tokens in id order, merges, special ids and the template."""
    with open(path) as file:
        made = json.load(file)
    tokens = [None] * VOCABULARY
    for text, at in made["model"]["vocab"].items():
        tokens[at] = text
    for added in made["added_tokens"]:
        tokens[added["id"]] = added["content"]
    assert all(tokens), "a token id has no text"
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in made["model"]["merges"]]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("llama-bpe")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.NORMAL if at < FIRST_SPECIAL else gguf.TokenType.CONTROL for at in range(VOCABULARY)])
    out.add_token_merges(merges)
    out.add_bos_token_id(BOS_ID)
    out.add_eos_token_id(END_ID)
    out.add_eot_token_id(END_ID)
    out.add_pad_token_id(PAD_ID)
    out.add_add_bos_token(True)
    out.add_add_eos_token(False)
    out.add_chat_template(TEMPLATE)


def main():
    """Weights and tokenizer in, GGUF out."""
    weights, tokenizer, path = sys.argv[1:]
    out = gguf.GGUFWriter(path, "llama")
    write_settings(out, Shape())
    write_vocabulary(out, tokenizer)
    with np.load(weights) as found:
        for name in found.files:
            values = found[name].astype(np.float32)
            if values.ndim == 2:
                blocks = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
                out.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            else:
                out.add_tensor(name, values)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    main()
