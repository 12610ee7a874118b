"""Makes tiny random models of each architecture and what `transformers` computes for them in float32.

    python tests/golden/make.py [NAME...]     # needs torch, transformers, gguf, safetensors

Writes data/NAME.gguf (matrices in F16, which every weight fits exactly, vectors in F32), data/NAME.golden.safetensors
(the tensors that tests/golden/README.md lists) and adds the case to data/index.json. Names of keys and tensors, and the
order of rows, are those of llama.cpp's converter.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

from cases import CASES

DATA = Path(__file__).parent / "data"
LENGTHS = {"short": 6, "medium": 24, "long": 80}
GREEDY = 32
# A continuation whose best two tokens are nearer than this anywhere is no test of greedy decoding.
MIN_MARGIN = 0.01
MAX_SEEDS = 400


def fill(model, seed):
    """Random weights that half precision holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    for name, param in model.named_parameters():
        noise = torch.randn(param.shape, generator=generator)
        if param.ndim >= 2 and ("embed" in name or "wte" in name or "wpe" in name or "word_embeddings" in name):
            values = 0.5 * noise
        elif param.ndim >= 2 and "norm" not in name:
            fan_in = param.shape[0] if "Conv1D" in type(owner(model, name)).__name__ else param.shape[-1]
            values = noise * (1.5 / fan_in**0.5)
        elif "norm" in name or "ln_" in name:
            one = 0.0 if name.endswith("bias") or model.config.model_type == "gemma" else 1.0
            values = one + 0.2 * noise
        else:
            values = 0.2 * noise
        param.data = values.half().float()
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("layer_scalar"):
            buffer.copy_(1 + 0.2 * torch.randn(buffer.shape, generator=generator))


def owner(model, name):
    return model.get_submodule(name.rsplit(".", 1)[0])


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def golden(model, vocab):
    """The golden tensors, and the smallest gap between the best two tokens of the greedy continuations."""
    tensors, least = {}, float("inf")
    for number, (prompt, length) in enumerate(LENGTHS.items()):
        ids = torch.randint(0, vocab, (length,), generator=torch.Generator().manual_seed(number)).tolist()
        out = model(input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True)
        logits = out.logits[0].float()
        top = logits.topk(20, dim=-1)
        greedy, margins = list(ids), []
        for _ in range(GREEDY):
            best = logits_of(model, greedy)[-1].topk(2)
            margins.append(float(best.values[0] - best.values[1]))
            if margins[-1] < MIN_MARGIN:
                return None, margins[-1]
            greedy.append(int(best.indices[0]))
        least = min(least, *margins)
        put = lambda name, values, dtype: tensors.__setitem__(f"{prompt}.{name}", np.asarray(values, dtype))
        put("ids", ids, np.int32)
        put("last_logits", logits[-1].numpy(), np.float32)
        put("top_ids", top.indices.numpy(), np.int32)
        put("top_logits", top.values.numpy(), np.float32)
        put("greedy_ids", greedy[length:], np.int32)
        put("greedy_margin", margins, np.float32)
        put("hidden_last", np.stack([h[0, -1].float().numpy() for h in out.hidden_states]), np.float32)
    return tensors, least


def write_gguf(path, case, model):
    writer = gguf.GGUFWriter(path, case.arch)
    writer.add_name(path.stem)
    case.write_keys(writer, model.config)
    layers = model.config.num_hidden_layers
    names = gguf.get_tensor_name_map(case.model_arch, layers)
    state = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    for name, tensor in case.tensors(state, model.config):
        # A name that begins with `=` is the file's own.
        file_name = name[1:] if name.startswith("=") else names.get_name(name, try_suffixes=(".weight", ".bias"))
        if file_name is None:
            raise SystemExit(f"{path.stem}: no name for {name}")
        values = tensor.contiguous().float().numpy()
        is_matrix = values.ndim > 1 and not file_name.endswith(("norm.weight", ".bias")) and "gate_inp" not in file_name
        writer.add_tensor(file_name, values.astype(np.float16) if is_matrix else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(case):
    for seed in range(MAX_SEEDS):
        torch.manual_seed(seed)
        model = case.model().float().eval()
        fill(model, seed)
        tensors, margin = golden(model, model.config.vocab_size)
        if tensors is not None:
            break
    else:
        raise SystemExit(f"{case.name}: no seed of {MAX_SEEDS} has margins of {MIN_MARGIN}")
    write_gguf(DATA / f"{case.name}.gguf", case, model)
    save_file(tensors, DATA / f"{case.name}.golden.safetensors")
    print(f"{case.name}: seed {seed}, margin {margin:.3f}, std {tensors['long.last_logits'].std():.2f}")
    return {"arch": case.arch, "class": type(model).__name__, "seed": seed, "min_greedy_margin": round(margin, 4)}


def main():
    DATA.mkdir(exist_ok=True)
    index_path = DATA / "index.json"
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    index["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    wanted = sys.argv[1:] or list(CASES)
    for name in wanted:
        index[name] = make(CASES[name])
    index_path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
