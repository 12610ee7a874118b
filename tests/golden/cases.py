"""The cases: a configuration of `transformers`, the keys of the file, and what its tensors are made of.

`Case.tensors` gives pairs of the original name (from which gguf's table makes the file's) and the tensor.
"""

import re

import gguf
import torch
import transformers as tf

VOCAB, HIDDEN, FFN, CONTEXT = 67, 32, 48, 128
# Gemma 4: heads of layers with the full context.
FULL_HEAD = 16
COMMON = dict(
    vocab_size=VOCAB,
    hidden_size=HIDDEN,
    intermediate_size=FFN,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=CONTEXT,
    attn_implementation="eager",
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)


def permute(weight, heads):
    """From halves to neighbours, as the converter does for rotations of neighbours."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


class Case:
    """A model whose tensors have the converter's plain names."""

    is_encoder = False

    def __init__(self, name, arch, model_class, config, quantized=None, rounded=None, **keys):
        self.name, self.arch, self.model_class, self.config, self.keys = name, arch, model_class, config, keys
        self.quantized = quantized and gguf.GGMLQuantizationType[quantized]
        # The largest integer that inputs may be rounded to without other experts being chosen, where that is asked for.
        self.rounded = 127 if quantized else rounded
        self.model_arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == arch)

    def model(self):
        return self.model_class(self.config)

    def write_keys(self, writer, config):
        get = lambda key, default=None: getattr(config, key, None) or default
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        ffn = next(filter(None, map(get, ("intermediate_size_mlp", "ffn_hidden_size", "n_inner", "intermediate_size"))))
        if "feed_forward_length" not in self.keys:
            writer.add_feed_forward_length(ffn)
        writer.add_head_count(config.num_attention_heads)
        if "attention.head_count_kv" not in self.keys:
            writer.add_head_count_kv(self.keys.pop("kv_heads", get("num_key_value_heads", config.num_attention_heads)))
        rms = get("rms_norm_eps")
        eps = rms or get("layer_norm_eps") or get("layer_norm_epsilon") or get("norm_epsilon") or get("norm_eps")
        (writer.add_layer_norm_rms_eps if rms else writer.add_layer_norm_eps)(eps)
        parameters = getattr(config, "rope_parameters", None) or {}
        if isinstance(parameters.get("rope_theta"), (int, float)):
            writer.add_rope_freq_base(parameters["rope_theta"])
        for key, value in self.keys.items():
            self.write_key(writer, key, value)

    def write_key(self, writer, key, value):
        key = f"{self.arch}.{key.replace('__', '.')}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)

    def tensors(self, state, config):
        for name, tensor in state.items():
            yield from self.tensor(name, tensor, config)

    def tensor(self, name, tensor, config):
        yield name, tensor


class Encoder(Case):
    """A model that gives hidden states. Its file has a vocabulary of letters, alone and at the start of a word."""

    is_encoder = True
    names = {}

    def write_keys(self, writer, config):
        super().write_keys(writer, config)
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.MEAN)
        letters = [chr(ord("a") + i) for i in range(26)]
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokens = special + ["\u2581" + letter for letter in letters] + letters
        tokens += [f"[unused{i}]" for i in range(VOCAB - len(tokens))]
        writer.add_tokenizer_model("bert")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if token.startswith("[") else 1 for token in tokens])
        writer.add_bos_token_id(2)
        writer.add_eos_token_id(3)
        writer.add_sep_token_id(3)
        writer.add_unk_token_id(1)
        writer.add_pad_token_id(0)
        writer.add_mask_token_id(4)

    def tensor(self, name, tensor, config):
        if name.startswith("pooler."):
            return
        for part, file_part in self.names.items():
            if part in name:
                layer = re.search(r"\.(\d+)\.", "." + name)
                prefix = f"blk.{layer.group(1)}." if layer else ""
                yield f"={prefix}{file_part}.{name.rsplit('.', 1)[1]}", tensor
                return
        yield name, tensor


class XlmRoberta(Encoder):
    """Positions count from behind the padding's id."""

    def tensor(self, name, tensor, config):
        is_positions = name == "embeddings.position_embeddings.weight"
        yield from super().tensor(name, tensor[config.pad_token_id + 1 :] if is_positions else tensor, config)


class GemmaEmbedding(Encoder):
    """The file's norms contain the `1 +`."""

    def tensor(self, name, tensor, config):
        yield f"model.{name}", tensor + 1 if name.endswith("norm.weight") else tensor


class Nomic(Encoder):
    """Queries, keys and values come as one in the file."""

    names = {
        "post_attention_layernorm": "attn_output_norm",
        "post_mlp_layernorm": "layer_output_norm",
        "gate_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "down_proj": "ffn_down",
        "o_proj": "attn_output",
    }

    def tensors(self, state, config):
        for layer in range(config.num_hidden_layers):
            parts = [state.pop(f"layers.{layer}.self_attn.{part}_proj.weight") for part in "qkv"]
            yield f"=blk.{layer}.attn_qkv.weight", torch.cat(parts)
        yield from super().tensors(state, config)


class Gemma(Case):
    """The file's norms contain the `1 +`."""

    def tensor(self, name, tensor, config):
        yield name, tensor + 1 if name.endswith("norm.weight") else tensor


class Permuted(Case):
    """Rotations of neighbours."""

    def tensor(self, name, tensor, config):
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        part = name.split(".")[-2]
        yield name, permute(tensor, heads[part]) if part in heads else tensor


class Moe(Case):
    """Experts' gate and up come as one."""

    def tensor(self, name, tensor, config):
        if name.endswith(("block_sparse_moe.input_linear.weight", "experts.gate_up_proj")):
            gate, up = tensor.chunk(2, dim=-2)
            yield f"={block(name)}.ffn_gate_exps.weight", gate
            yield f"={block(name)}.ffn_up_exps.weight", up
        elif name.endswith(("output_linear.weight", "experts.down_proj")):
            yield f"={block(name)}.ffn_down_exps.weight", tensor
        elif name.endswith(("router.layer.weight", "router.weight", "mlp.gate.weight")):
            yield f"={block(name)}.ffn_gate_inp.weight", tensor
        else:
            yield from super().tensor(name, tensor, config)


def block(name):
    return "blk." + next(part for part in name.split(".") if part.isdigit())


class Gpt2(Case):
    def tensor(self, name, tensor, config):
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            return
        is_transposed = self.arch == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        yield name, tensor.T if is_transposed else tensor


class GptNeoX(Case):
    """Queries, keys and values of a head lie together; the file has all queries first."""

    def tensor(self, name, tensor, config):
        if "query_key_value" in name:
            heads = config.num_attention_heads
            parts = tensor.view(heads, 3, config.hidden_size // heads, *tensor.shape[1:])
            tensor = torch.cat([part.reshape(-1, *tensor.shape[1:]) for part in parts.unbind(1)])
        yield name, tensor


class Falcon(Case):
    """Queries, keys and values of a group lie together; the file has all queries first."""

    def tensor(self, name, tensor, config):
        if "query_key_value" not in name:
            yield name, tensor
            return
        heads, groups = config.num_attention_heads, config.num_kv_heads if config.new_decoder_architecture else 1
        head_dim = config.hidden_size // heads
        parts = tensor.view(groups, heads // groups + 2, head_dim, -1)
        q, k, v = parts[:, :-2], parts[:, -2:-1], parts[:, -1:]
        yield name, torch.cat([part.reshape(-1, tensor.shape[-1]) for part in (q, k, v)])


class StableLm(Case):
    """Norms of heads are stacked."""

    def tensors(self, state, config):
        stacks = {}
        for name, tensor in state.items():
            if "layernorm.norms" in name:
                stacks.setdefault(name.split(".norms.")[0], []).append(tensor)
            else:
                yield name, tensor
        for name, parts in stacks.items():
            yield f"{name}.weight", torch.stack(parts)


class DeepSeek(Case):
    """Latent attention with absorbed matrices, or, in `old` files, as the checkpoint has them."""

    old = False

    def tensor(self, name, tensor, config):
        if name.endswith("kv_b_proj.weight") and not self.old:
            heads, nope, value = config.num_attention_heads, config.qk_nope_head_dim, config.v_head_dim
            k_b, v_b = tensor.view(heads, nope + value, -1).split([nope, value], dim=1)
            yield f"={block(name)}.attn_k_b.weight", k_b.transpose(1, 2)
            yield f"={block(name)}.attn_v_b.weight", v_b
        elif name.endswith("experts.gate_up_proj"):
            gate, up = tensor.chunk(2, dim=-2)
            yield f"={block(name)}.ffn_gate_exps.weight", gate
            yield f"={block(name)}.ffn_up_exps.weight", up
        elif name.endswith("experts.down_proj"):
            yield f"={block(name)}.ffn_down_exps.weight", tensor
        elif name.endswith("e_score_correction_bias"):
            yield f"={block(name)}.exp_probs_b.bias", tensor
        else:
            yield name, tensor


class OldDeepSeek(DeepSeek):
    old = True


class Llama4(Case):
    def tensor(self, name, tensor, config):
        if name.endswith("experts.gate_up_proj"):
            gate, up = tensor.transpose(1, 2).chunk(2, dim=-2)
            yield f"={block(name)}.ffn_gate_exps.weight", gate
            yield f"={block(name)}.ffn_up_exps.weight", up
        elif name.endswith("experts.down_proj"):
            yield f"={block(name)}.ffn_down_exps.weight", tensor.transpose(1, 2)
        elif name.endswith("feed_forward.router.weight"):
            yield f"={block(name)}.ffn_gate_inp.weight", tensor
        else:
            yield name, tensor


class RopeFactors(Case):
    """The file has the divisors of Llama 3's frequencies as a tensor, as the converter computes them."""

    def tensors(self, state, config):
        yield from super().tensors(state, config)
        rope, head_dim = config.rope_parameters, config.hidden_size // config.num_attention_heads
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        original = rope["original_max_position_embeddings"]
        frequencies = 1.0 / rope["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        factors = []
        for wavelength in 2 * torch.pi / frequencies:
            if wavelength < original / high:
                factors.append(1.0)
            elif wavelength > original / low:
                factors.append(rope["factor"])
            else:
                smooth = (original / wavelength - low) / (high - low)
                factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
        yield "=rope_freqs.weight", torch.tensor(factors)


class Llama3(RopeFactors, Permuted):
    """The same with rotations of neighbours."""


class MoePermuted(Moe, Permuted):
    """Experts and rotations of neighbours."""


class LongPhi3(Case):
    """The file has the divisors of the frequencies as tensors."""

    def tensors(self, state, config):
        yield from super().tensors(state, config)
        for kind in ("long", "short"):
            yield f"=rope_factors_{kind}.weight", torch.tensor(config.rope_parameters[f"{kind}_factor"])


class Gemma4(Case):
    """Layers with the full context have sizes of their own; unrotated pairs are divided by a huge number."""

    def write_keys(self, writer, config):
        layers = [config.per_layer_config[i] for i in range(config.num_hidden_layers)]
        own = config.num_hidden_layers - config.num_kv_shared_layers
        wide = 2 if config.use_double_wide_mlp else 1
        self.keys["attention.head_count_kv"] = [layer.num_key_value_heads for layer in layers]
        self.keys["feed_forward_length"] = [config.intermediate_size * (1 if i < own else wide) for i in range(len(layers))]
        sliding = [kind == "sliding_attention" for kind in config.layer_types]
        self.keys["attention.sliding_window_pattern"] = sliding
        super().write_keys(writer, config)

    def tensors(self, state, config):
        for name, tensor in state.items():
            file_name = next((file for end, file in GEMMA4_NAMES.items() if name.endswith(end)), None)
            yield f"={block(name)}.{file_name}" if file_name else name, tensor
        rotated = FULL_HEAD // 8
        yield "=rope_freqs.weight", torch.tensor([1.0] * rotated + [1e30] * (FULL_HEAD // 2 - rotated))


GEMMA4_NAMES = {
    "layer_scalar": "layer_output_scale.weight",
    "router.scale": "ffn_gate_inp.scale",
    "router.proj.weight": "ffn_gate_inp.weight",
    "router.per_expert_scale": "ffn_down_exps.scale",
    "experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "experts.down_proj": "ffn_down_exps.weight",
    "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
    "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight",
    "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight",
}


def config(kind, **changes):
    return kind(**{**COMMON, **changes})


def rope(theta=10_000.0, **scaling):
    return {"rope_theta": theta, "rope_type": "default", **scaling}


GEMMA4 = dict(
    head_dim=8,
    global_head_dim=FULL_HEAD,
    layer_types=["sliding_attention", "full_attention"] * 3,
    num_hidden_layers=6,
    sliding_window=16,
    final_logit_softcapping=9.0,
)
GEMMA4_WIDE = dict(GEMMA4, num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"],
                   intermediate_size=64)
GEMMA4_KEYS = dict(
    attention__key_length=FULL_HEAD,
    attention__value_length=FULL_HEAD,
    attention__key_length_swa=8,
    attention__value_length_swa=8,
    attention__sliding_window=16,
    rope__dimension_count=FULL_HEAD,
    rope__dimension_count_swa=8,
    rope__freq_base=1_000_000.0,
    rope__freq_base_swa=10_000.0,
    final_logit_softcapping=9.0,
)
MOE = dict(expert_count=6, expert_used_count=2, expert_feed_forward_length=24)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=32.0, beta_slow=1.0)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN_KEYS = dict(
    rope__scaling__type="yarn",
    rope__scaling__factor=4.0,
    rope__scaling__original_context_length=32,
    rope__scaling__yarn_beta_fast=32.0,
    rope__scaling__yarn_beta_slow=1.0,
)
LATENT = dict(kv_lora_rank=20, qk_rope_head_dim=8, qk_nope_head_dim=12, v_head_dim=16, first_k_dense_replace=1)
LATENT_WIDE = dict(kv_lora_rank=32, qk_rope_head_dim=8, qk_nope_head_dim=32, v_head_dim=16, first_k_dense_replace=1)
LATENT_WIDE_KEYS = dict(attention__q_lora_rank=32, attention__kv_lora_rank=32, attention__key_length=40,
                        attention__value_length=32, attention__key_length_mla=40, attention__value_length_mla=16,
                        rope__dimension_count=8)
DEEPSEEK_MOE = dict(n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2, moe_intermediate_size=24)
FACTORS = dict(long_factor=[1.0, 1.5, 2.5, 4.0], short_factor=[1.0, 1.1, 1.2, 1.3])

ALL = [
    Gemma("gemma", "gemma", tf.GemmaForCausalLM, config(tf.GemmaConfig, head_dim=16), attention__key_length=16,
          attention__value_length=16),
    Gemma4("gemma4", "gemma4", tf.Gemma4ForCausalLM,
           config(tf.Gemma4TextConfig, vocab_size_per_layer_input=VOCAB, hidden_size_per_layer_input=8,
                  num_kv_shared_layers=2, use_double_wide_mlp=True, **GEMMA4),
           attention__shared_kv_layers=2, embedding_length_per_layer_input=8, **GEMMA4_KEYS),
    Gemma4("gemma4_dense", "gemma4", tf.Gemma4ForCausalLM,
           config(tf.Gemma4TextConfig, hidden_size_per_layer_input=0, attention_k_eq_v=True,
                  num_global_key_value_heads=1, **GEMMA4),
           attention__shared_kv_layers=0, embedding_length_per_layer_input=0, **GEMMA4_KEYS),
    Gemma4("gemma4_moe", "gemma4", tf.Gemma4ForCausalLM,
           config(tf.Gemma4TextConfig, hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=6,
                  top_k_experts=2, moe_intermediate_size=24, **GEMMA4), rounded=2047,
           attention__shared_kv_layers=0, embedding_length_per_layer_input=0, **MOE, **GEMMA4_KEYS),
    Permuted("llama_linear", "llama", tf.LlamaForCausalLM,
             config(tf.LlamaConfig, rope_parameters=rope(rope_type="linear", factor=4.0)),
             rope__scaling__type="linear", rope__scaling__factor=4.0, rope__scaling__original_context_length=32),
    Llama3("llama3_rope", "llama", tf.LlamaForCausalLM, config(tf.LlamaConfig, rope_parameters=rope(500.0, **LLAMA3))),
    MoePermuted("mixtral", "llama", tf.MixtralForCausalLM,
                config(tf.MixtralConfig, intermediate_size=24, num_local_experts=6, num_experts_per_tok=2),
                rounded=2047, expert_count=6, expert_used_count=2),
    Moe("qwen2moe", "qwen2moe", tf.Qwen2MoeForCausalLM,
        config(tf.Qwen2MoeConfig, moe_intermediate_size=24, shared_expert_intermediate_size=40, num_experts=6,
               num_experts_per_tok=2, norm_topk_prob=False), rounded=2047, **MOE, expert_shared_feed_forward_length=40),
    RopeFactors("exaone", "exaone", tf.LlamaForCausalLM, config(tf.LlamaConfig, rope_parameters=rope(500.0, **LLAMA3))),
    LongPhi3("phi4_mini", "phi3", tf.Phi3ForCausalLM,
             config(tf.Phi3Config, original_max_position_embeddings=4, hidden_size=64,
                    rope_parameters=rope(rope_type="longrope", original_max_position_embeddings=4,
                                         partial_rotary_factor=0.5, **FACTORS)),
             rope__dimension_count=8, rope__scaling__original_context_length=4,
             rope__scaling__attn_factor=(1 + 5 / 2) ** 0.5),
    LongPhi3("phi3_long", "phi3", tf.Phi3ForCausalLM,
             config(tf.Phi3Config, original_max_position_embeddings=4,
                    rope_parameters=rope(rope_type="longrope", original_max_position_embeddings=4, **FACTORS)),
             rope__scaling__original_context_length=4, rope__scaling__attn_factor=(1 + 5 / 2) ** 0.5),
    MoePermuted("granitemoe", "granitemoe", tf.GraniteMoeForCausalLM,
               config(tf.GraniteMoeConfig, num_local_experts=6, num_experts_per_tok=2, intermediate_size=24,
                      embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.3, logits_scaling=0.7),
               attention__scale=0.3, embedding_scale=3.0, residual_scale=0.4, logit_scale=0.7, **MOE),
    Permuted("llama_yarn", "llama", tf.LlamaForCausalLM, config(tf.LlamaConfig, rope_parameters=rope(**YARN)),
             **YARN_KEYS),
    Case("olmo2", "olmo2", tf.Olmo2ForCausalLM, config(tf.Olmo2Config)),
    Case("olmo3", "olmo2", tf.Olmo3ForCausalLM, config(tf.Olmo3Config, sliding_window=16, num_hidden_layers=4,
                                                       rope_parameters={"full_attention": rope(**YARN),
                                                                        "sliding_attention": rope()}),
         attention__sliding_window=16, **YARN_KEYS),
    StableLm("stablelm", "stablelm", tf.StableLmForCausalLM,
             config(tf.StableLmConfig, use_qkv_bias=True, rope_parameters=rope(partial_rotary_factor=0.5)),
             rope__dimension_count=4, use_parallel_residual=False),
    StableLm("stablelm_parallel", "stablelm", tf.StableLmForCausalLM,
             config(tf.StableLmConfig, qk_layernorm=True, use_parallel_residual=True,
                    rope_parameters=rope(partial_rotary_factor=0.5)),
             rope__dimension_count=4, use_parallel_residual=True),
    Falcon("falcon", "falcon", tf.FalconForCausalLM,
           config(tf.FalconConfig, alibi=False, bias=False, multi_query=True, parallel_attn=True, ffn_hidden_size=288,
                  new_decoder_architecture=False), kv_heads=1),
    Falcon("falcon_two_norms", "falcon", tf.FalconForCausalLM,
           config(tf.FalconConfig, alibi=False, bias=False, new_decoder_architecture=True, num_kv_heads=2,
                  ffn_hidden_size=64), kv_heads=2),
    Gpt2("gpt2", "gpt2", tf.GPT2LMHeadModel,
         tf.GPT2Config(vocab_size=VOCAB, n_positions=CONTEXT, n_embd=HIDDEN, n_layer=2, n_head=4, n_inner=FFN,
                       attn_implementation="eager", bos_token_id=1, eos_token_id=2)),
    Gpt2("starcoder", "starcoder", tf.GPTBigCodeForCausalLM,
         tf.GPTBigCodeConfig(vocab_size=VOCAB, n_positions=CONTEXT, n_embd=HIDDEN, n_layer=2, n_head=4, n_inner=FFN,
                             attn_implementation="eager", bos_token_id=1, eos_token_id=2, multi_query=True),
         kv_heads=1),
    GptNeoX("gptneox", "gptneox", tf.GPTNeoXForCausalLM,
            config(tf.GPTNeoXConfig, rope_parameters=rope(partial_rotary_factor=0.5)), kv_heads=4,
            rope__dimension_count=4, use_parallel_residual=True),
    Moe("olmoe", "olmoe", tf.OlmoeForCausalLM,
               config(tf.OlmoeConfig, intermediate_size=24, num_experts=6, num_experts_per_tok=2),
               expert_count=6, expert_used_count=2),
    Case("seed_oss", "seed_oss", tf.SeedOssForCausalLM,
         config(tf.SeedOssConfig, head_dim=8, attention_bias=True), attention__key_length=8,
         attention__value_length=8),
    Case("starcoder2", "starcoder2", tf.Starcoder2ForCausalLM,
         config(tf.Starcoder2Config, use_bias=True, intermediate_size=288)),
    Case("command_r", "command-r", tf.CohereForCausalLM, config(tf.CohereConfig, use_qk_norm=True, logit_scale=0.5),
         logit_scale=0.5, rope__scaling__type="none"),
    Case("cohere2", "cohere2", tf.Cohere2ForCausalLM,
         config(tf.Cohere2Config, logit_scale=0.5, sliding_window=16, num_hidden_layers=4, head_dim=8),
         logit_scale=0.5, attention__sliding_window=16, attention__key_length=8, attention__value_length=8,
         rope__dimension_count=8, rope__scaling__type="none"),
    Case("glm4", "glm4", tf.Glm4ForCausalLM,
         config(tf.Glm4Config, head_dim=8, attention_bias=True, rope_parameters=rope(partial_rotary_factor=0.5)),
         attention__key_length=8, attention__value_length=8, rope__dimension_count=4),
    Permuted("smollm3", "smollm3", tf.SmolLM3ForCausalLM, config(tf.SmolLM3Config, num_hidden_layers=4)),
    Case("exaone4", "exaone4", tf.Exaone4ForCausalLM,
         config(tf.Exaone4Config, num_hidden_layers=4, sliding_window=16, sliding_window_pattern=4),
         attention__sliding_window=16, attention__sliding_window_pattern=[True, True, True, False]),
    Permuted("ministral3", "mistral3", tf.Ministral3ForCausalLM,
             config(tf.Ministral3Config, head_dim=8, sliding_window=None,
                    rope_parameters=rope(**YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3)),
             attention__temperature_scale=0.3, rope__scaling__yarn_log_multiplier=1.0, attention__key_length=8,
             attention__value_length=8, **YARN_KEYS),
    DeepSeek("deepseek3", "deepseek2", tf.DeepseekV3ForCausalLM,
             config(tf.DeepseekV3Config, num_key_value_heads=4, q_lora_rank=24, n_group=4, topk_group=2,
                    norm_topk_prob=True, routed_scaling_factor=1.5, rope_interleave=True,
                    rope_parameters=rope(**YARN, mscale=0.7, mscale_all_dim=0.7), **LATENT, **DEEPSEEK_MOE),
             kv_heads=1, attention__q_lora_rank=24, attention__kv_lora_rank=20, attention__key_length=28,
             attention__value_length=20, attention__key_length_mla=20, attention__value_length_mla=16,
             rope__dimension_count=8, leading_dense_block_count=1, expert_count=8, expert_used_count=3,
             expert_shared_count=2, expert_feed_forward_length=24, expert_group_count=4, expert_group_used_count=2,
             expert_weights_norm=True, expert_weights_scale=1.5, expert_gating_func=2,
             rope__scaling__yarn_log_multiplier=0.07, **YARN_KEYS),
    OldDeepSeek("deepseek2", "deepseek2", tf.DeepseekV2ForCausalLM,
                config(tf.DeepseekV2Config, num_key_value_heads=4, q_lora_rank=None, n_group=4, topk_group=2,
                       topk_method="group_limited_greedy", norm_topk_prob=False, routed_scaling_factor=1.0,
                       rope_parameters=rope(), **LATENT, **DEEPSEEK_MOE),
                kv_heads=4, attention__kv_lora_rank=20, attention__key_length=20, attention__value_length=16,
                rope__dimension_count=8, leading_dense_block_count=1, expert_count=8, expert_used_count=3,
                expert_shared_count=2, expert_feed_forward_length=24, expert_group_count=4,
                expert_group_used_count=2, expert_weights_scale=1.0),
    Llama4("llama4", "llama4", tf.Llama4ForCausalLM,
           config(tf.Llama4TextConfig, num_hidden_layers=4, head_dim=8, intermediate_size=24, intermediate_size_mlp=40,
                  num_local_experts=6, num_experts_per_tok=1, interleave_moe_layer_step=2, attention_chunk_size=16,
                  floor_scale=8, attn_scale=0.3, use_qk_norm=True),
           interleave_moe_layer_step=2, attention__sliding_window=16, attention__temperature_length=8,
           attention__temperature_scale=0.3, **{**MOE, "expert_used_count": 1}),
    Case("qwen3_nvfp4", "qwen3", tf.Qwen3ForCausalLM,
         config(tf.Qwen3Config, hidden_size=64, intermediate_size=128, head_dim=16), quantized="NVFP4",
         attention__key_length=16, attention__value_length=16),
    Moe("qwen3moe_nvfp4", "qwen3moe", tf.Qwen3MoeForCausalLM,
        config(tf.Qwen3MoeConfig, hidden_size=64, head_dim=16, num_experts=6, num_experts_per_tok=2,
               moe_intermediate_size=64, norm_topk_prob=True), quantized="NVFP4",
        attention__key_length=16, attention__value_length=16, **{**MOE, "expert_feed_forward_length": 64}),
    Gemma4("gemma4_moe_q8_0", "gemma4", tf.Gemma4ForCausalLM,
           config(tf.Gemma4TextConfig, hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=6,
                  top_k_experts=2, moe_intermediate_size=32, **GEMMA4_WIDE), quantized="Q8_0",
           attention__shared_kv_layers=0, embedding_length_per_layer_input=0,
           **{**MOE, **GEMMA4_KEYS, "expert_feed_forward_length": 32}),
    DeepSeek("mla_q8_0", "deepseek2", tf.DeepseekV3ForCausalLM,
             config(tf.DeepseekV3Config, intermediate_size=64, num_key_value_heads=4, q_lora_rank=32,
                    rope_interleave=True, rope_parameters=rope(), **{**LATENT_WIDE, "first_k_dense_replace": 2}),
             quantized="Q8_0", kv_heads=1, leading_dense_block_count=2, **LATENT_WIDE_KEYS),
    DeepSeek("deepseek3_q8_0", "deepseek2", tf.DeepseekV3ForCausalLM,
             config(tf.DeepseekV3Config, intermediate_size=64, num_key_value_heads=4, q_lora_rank=32, n_group=4,
                    topk_group=2, norm_topk_prob=True, routed_scaling_factor=1.5, rope_interleave=True,
                    rope_parameters=rope(), n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
                    moe_intermediate_size=32, **LATENT_WIDE),
             quantized="Q8_0", kv_heads=1, leading_dense_block_count=1, expert_count=8, expert_used_count=3,
             expert_shared_count=1, expert_feed_forward_length=32, expert_group_count=4, expert_group_used_count=2,
             expert_weights_norm=True, expert_weights_scale=1.5, expert_gating_func=2, **LATENT_WIDE_KEYS),
    Llama4("llama4_q8_0", "llama4", tf.Llama4ForCausalLM,
           config(tf.Llama4TextConfig, num_hidden_layers=4, head_dim=8, intermediate_size=32, intermediate_size_mlp=64,
                  num_local_experts=6, num_experts_per_tok=1, interleave_moe_layer_step=2, attention_chunk_size=16,
                  floor_scale=8, attn_scale=0.3, use_qk_norm=True), quantized="Q8_0",
           interleave_moe_layer_step=2, attention__sliding_window=16, attention__temperature_length=8,
           attention__temperature_scale=0.3, expert_count=6, expert_used_count=1, expert_feed_forward_length=32),
    Moe("olmoe_q4_0", "olmoe", tf.OlmoeForCausalLM,
        config(tf.OlmoeConfig, intermediate_size=32, num_experts=6, num_experts_per_tok=2), quantized="Q4_0",
        expert_count=6, expert_used_count=2),
    Encoder("bert", "bert", tf.BertModel, config(tf.BertConfig), kv_heads=4),
    XlmRoberta("xlm_roberta", "bert", tf.XLMRobertaModel,
               config(tf.XLMRobertaConfig, pad_token_id=1, type_vocab_size=1, max_position_embeddings=CONTEXT + 2),
               kv_heads=4),
    Encoder("modern_bert", "modern-bert", tf.ModernBertModel,
            config(tf.ModernBertConfig, num_hidden_layers=4, local_attention=16), kv_heads=4,
            attention__sliding_window=16, rope__freq_base=160000.0, rope__freq_base_swa=10000.0),
    # transformers makes 9 of the window: those less than 9 away are seen.
    GemmaEmbedding("gemma_embedding", "gemma-embedding", tf.Gemma3TextModel,
                   config(tf.Gemma3TextConfig, num_hidden_layers=6, head_dim=8, query_pre_attn_scalar=8,
                          sliding_window=16, use_bidirectional_attention=True),
                   attention__key_length=8, attention__value_length=8, attention__sliding_window=16),
    Nomic("nomic_bert", "nomic-bert", tf.NomicBertModel, config(tf.NomicBertConfig), kv_heads=4),
]
CASES = {case.name: case for case in ALL}
