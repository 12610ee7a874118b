"""Makes tiny random models of each architecture and what `transformers` computes for them in float32.

    python tests/golden/make.py [NAME...]     # needs torch, transformers, gguf, safetensors

Writes data/NAME.gguf (matrices in F16, which every weight fits exactly, or in the case's quantized type, whose decoded
weights the model gets; vectors in F32), data/NAME.golden.safetensors
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

from cases import CASES, VOCAB

DATA = Path(__file__).parent / "data"
LENGTHS = {"short": 6, "medium": 24, "long": 80}
# Tokens of the texts of encoders.
TEXTS = [1, 7, 33, 100]
GREEDY = 32
# A continuation whose best two tokens are nearer than this anywhere is no test of greedy decoding.
MIN_MARGIN = 0.01
MAX_SEEDS = 400
# Of some models, by the largest integer that the inputs of matrices are rounded to (8 bits; the 11 of half precision):
# how far logits may move then. Beyond this, other experts were chosen somewhere, which says nothing about products.
MAX_MOVE = {127: 0.5, 2047: 0.03}
ROUNDED_TOGETHER = 16
TRIES = 4


def fill(model, seed):
    """Random weights that half precision holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    for name, param in model.named_parameters():
        noise = torch.randn(param.shape, generator=generator)
        if param.ndim >= 2 and ("embed" in name or "wte" in name or "wpe" in name or "word_embeddings" in name):
            values = 0.5 * noise
        elif param.ndim >= 2 and "norm" not in name.lower():
            fan_in = param.shape[0] if "Conv1D" in type(owner(model, name)).__name__ else param.shape[-1]
            values = noise * (1.5 / fan_in**0.5)
        elif name.endswith("router.scale"):
            # The router's inputs are divided by the root of their number.
            values = param.shape[0] ** 0.5 * (1 + 0.2 * noise)
        elif name.endswith("per_expert_scale"):
            values = 1 + 0.2 * noise
        elif "norm" in name.lower() or "ln_" in name:
            one = 0.0 if name.endswith("bias") or model.config.model_type in ("gemma", "gemma3_text") else 1.0
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


def file_tensors(case, model):
    """Pairs of the name in the file and the values: views of the parameters where the case only cuts and turns them."""
    names = gguf.get_tensor_name_map(case.model_arch, model.config.num_hidden_layers)
    state = dict(model.state_dict())
    if getattr(model.config, "tie_word_embeddings", False):
        state.pop("lm_head.weight", None)
    for name, tensor in case.tensors(state, model.config):
        # A name that begins with `=` is the file's own.
        file_name = name[1:] if name.startswith("=") else names.get_name(name, try_suffixes=(".weight", ".bias"))
        if file_name is None:
            raise SystemExit(f"{case.name}: no name for {name}")
        yield file_name, tensor


def is_matrix(file_name, tensor):
    return tensor.ndim > 1 and not file_name.endswith(("norm.weight", ".bias")) and "gate_inp" not in file_name


def encode(values, kind):
    return encode_nvfp4(values) if kind == gguf.GGMLQuantizationType.NVFP4 else gguf.quants.quantize(values, kind)


def encode_nvfp4(values):
    """Blocks of 64 weights: 4 scales of 8 bits, then 32 bytes; of each 16 weights the first 8 in the low halves. The
    package decodes this type and does not encode it."""
    kind = gguf.quants.NVFP4
    groups = values.reshape(-1, 4, 16).astype(np.float32)
    bits = kind.fp32_to_ue4m3(np.abs(groups).max(-1) / 6)
    steps = kind.ue4m3_to_fp32(bits)[..., None]
    grid = np.float32(kind.kvalues)
    nearest = np.abs(groups[..., None] - steps[..., None] * grid).argmin(-1).astype(np.uint8)
    packed = (nearest[..., :8] | nearest[..., 8:] << 4).reshape(-1, 32)
    blocks = np.concatenate([bits.astype(np.uint8), packed], axis=-1)
    return blocks.reshape(*values.shape[:-1], values.shape[-1] // 64 * 36)


@torch.no_grad()
def quantize(case, model):
    """Quantizes matrices and puts what they decode to, times a scale of NVFP4's, into the model. Returns the bytes and
    the scales by the names in the file."""
    quantized, scales = {}, {}
    for number, (file_name, tensor) in enumerate(file_tensors(case, model)):
        if not is_matrix(file_name, tensor) or "embd" in file_name:
            continue
        values = tensor.contiguous().numpy()
        scale = np.ones((), np.float32)
        if case.quantized == gguf.GGMLQuantizationType.NVFP4:
            # Of each matrix of a stack its own, of few bits, so that products with them are exact.
            count = tensor.shape[0] if tensor.ndim > 2 else 1
            scale = np.float32([(5 + (3 * number + 5 * i) % 11) / 16 for i in range(count)])
            scales[file_name.replace(".weight", ".scale")] = scale
            scales[file_name.replace(".weight", ".input_scale")] = np.full(count, 0.01, np.float32)
            scale = scale.reshape(count, *[1] * (tensor.ndim - 1)) if tensor.ndim > 2 else scale
        quantized[file_name] = encode(values / scale, case.quantized)
        decoded = gguf.quants.dequantize(quantized[file_name], case.quantized).reshape(values.shape) * scale
        tensor.copy_(torch.from_numpy(decoded))
        if tensor.data_ptr() not in {p.untyped_storage().data_ptr() + p.element_size() * tensor.storage_offset()
                                     for p in model.parameters()}:
            raise SystemExit(f"{case.name}: {file_name} is no view of a parameter")
    return quantized, scales


@torch.no_grad()
def move_by_rounding(model, vocab, largest):
    """How far the last logits move at most when the inputs of all blocks and matrices are rounded to integers, up or down
    by chance: if a router's choice hangs by a hair, some try finds it."""
    generator = torch.Generator().manual_seed(0)

    def rounded(x):
        if not torch.is_floating_point(x) or x.shape[-1] % ROUNDED_TOGETHER:
            return x
        groups = x.reshape(-1, ROUNDED_TOGETHER)
        step = groups.abs().amax(-1, keepdim=True).clamp_min(1e-30) / largest
        chance = torch.rand(groups.shape, generator=generator)
        return ((groups / step + chance).floor() * step).reshape(x.shape)

    def hook(module, args):
        return (rounded(args[0]), *args[1:]) if args else None

    kinds = ("Linear", "MLP", "Experts")
    modules = [m for m in model.modules() if type(m).__name__.endswith(kinds)]
    prompts = list(prompt_ids(vocab).values())
    before = [logits_of(model, ids)[-1] for ids in prompts]
    handles = [module.register_forward_pre_hook(hook) for module in modules]
    after = [[logits_of(model, ids)[-1] for ids in prompts] for _ in range(TRIES)]
    for handle in handles:
        handle.remove()
    return max(float((a - b).abs().max()) for moved in after for a, b in zip(before, moved))


def prompt_ids(vocab):
    draw = lambda seed, length: torch.randint(0, vocab, (length,), generator=torch.Generator().manual_seed(seed))
    return {name: draw(seed, length).tolist() for seed, (name, length) in enumerate(LENGTHS.items())}


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def golden(model, vocab):
    """The golden tensors, and the smallest gap between the best two tokens of the greedy continuations."""
    tensors, least = {}, float("inf")
    for prompt, ids in prompt_ids(vocab).items():
        length = len(ids)
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


@torch.no_grad()
def encoder_golden(model, vocab):
    """The hidden states of a few texts, and what poolings make of them."""
    tensors = {}
    for number, length in enumerate(TEXTS):
        ids = torch.randint(5, vocab, (length,), generator=torch.Generator().manual_seed(number)).tolist()
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0].float().numpy()
        text = f"embed{number}"
        tensors |= {f"{text}.ids": np.asarray(ids, np.int32), f"{text}.hidden": hidden}
        for name, vector in {"mean": hidden.mean(axis=0), "cls": hidden[0], "last": hidden[-1]}.items():
            tensors |= {f"{text}.{name}": vector.copy(), f"{text}.{name}_l2": vector / np.linalg.norm(vector)}
    return tensors


def write_gguf(path, case, model, quantized, scales):
    writer = gguf.GGUFWriter(path, case.arch)
    writer.add_name(path.stem)
    case.write_keys(writer, model.config)
    for file_name, tensor in file_tensors(case, model):
        if file_name in quantized:
            writer.add_tensor(file_name, quantized[file_name], raw_dtype=case.quantized)
            continue
        values = tensor.contiguous().float().numpy()
        writer.add_tensor(file_name, values.astype(np.float16) if is_matrix(file_name, tensor) else values)
    for file_name, values in scales.items():
        writer.add_tensor(file_name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_encoder(case):
    torch.manual_seed(0)
    model = case.model().float().eval()
    fill(model, 0)
    tensors = encoder_golden(model, model.config.vocab_size)
    write_gguf(DATA / f"{case.name}.gguf", case, model, {}, {})
    save_file(tensors, DATA / f"{case.name}.golden.safetensors")
    print(f"{case.name}: std {tensors['embed3.hidden'].std():.2f}")
    return {"arch": case.arch, "class": type(model).__name__, "seed": 0}


def make(case):
    if case.is_encoder:
        return make_encoder(case)
    for seed in range(MAX_SEEDS):
        torch.manual_seed(seed)
        model = case.model().float().eval()
        fill(model, seed)
        quantized, scales = quantize(case, model) if case.quantized else ({}, {})
        if case.rounded and (move := move_by_rounding(model, VOCAB, case.rounded)) > MAX_MOVE[case.rounded]:
            continue
        tensors, margin = golden(model, model.config.vocab_size)
        if tensors is not None:
            break
    else:
        raise SystemExit(f"{case.name}: no seed of {MAX_SEEDS} has margins of {MIN_MARGIN}")
    write_gguf(DATA / f"{case.name}.gguf", case, model, quantized, scales)
    save_file(tensors, DATA / f"{case.name}.golden.safetensors")
    print(f"{case.name}: seed {seed}, margin {margin:.3f}, std {tensors['long.last_logits'].std():.2f}")
    entry = {"arch": case.arch, "class": type(model).__name__, "seed": seed, "min_greedy_margin": round(margin, 4)}
    return {**entry, "rounded_to": case.rounded, "move": round(move, 4)} if case.rounded else entry


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
