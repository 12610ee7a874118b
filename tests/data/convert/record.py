"""Fills in `expected` of descriptions: what llama.cpp's converter makes of the folders they describe.

    python record.py LLAMA_CPP DESCRIPTION.json...

LLAMA_CPP is a checkout of llama.cpp, whose converter's requirements must be installed. README.md here tells the format. A new
description names its pre-tokenizer in `expected.keys`, since the converter knows real vocabularies only. `reference` says what
the converter needs besides: `raw_config` where transformers would rename what config.json holds, `config` for keys that it drops, and
`beyond` for expected keys that are ours alone. Descriptions with `numpy` in it were recorded with weights that NumPy or
bitsandbytes computed, and are refused.
"""

import json
import shutil
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
NUMBERS = {"F32": np.float32, "I32": np.int32, "I64": np.int64}


def fnv(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def elements(name: str, dtype: str, spec) -> bytes:
    """A tensor's data: given values, or what follows from its name."""
    shape = spec if isinstance(spec, list) else spec["shape"]
    count = int(np.prod(shape))
    if isinstance(spec, dict):
        return np.resize(np.array(spec["values"], NUMBERS[dtype]), count).tobytes()
    with np.errstate(over="ignore"):
        x = np.uint64(fnv(name.encode())) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    byte = (x & np.uint64(0xFF)).astype(np.uint8)
    weight = byte.view(np.int8).astype(np.float32) / np.float32(256)
    match dtype:
        case "F32":
            return weight.tobytes()
        case "F16":
            return weight.astype(np.float16).tobytes()
        case "BF16":
            return (weight.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        case "I32":
            return x.astype(np.uint32).tobytes()
        case "F8_E4M3":
            return np.where(byte & 0x7F == 0x7F, byte ^ 1, byte).astype(np.uint8).tobytes()
        case "F8_E5M2":
            return np.where(byte & 0x7C == 0x7C, byte ^ 0x40, byte).astype(np.uint8).tobytes()
        case "F8_E8M0":
            return (byte % 16 + 120).astype(np.uint8).tobytes()
        case "U8" | "I8":
            return byte.tobytes()
    raise ValueError(f"{name} has the type {dtype}")


def write_folder(description: dict, folder: Path) -> None:
    """Writes the folder that is described."""
    folder.mkdir()
    files = {f"{name}.json": description[name] for name in ("config", "generation_config", "tokenizer_config") if name in description}
    for name, content in (files | description.get("files", {})).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    for name, source in description.get("copied", {}).items():
        shutil.copy(HERE / source, folder / name)
    if rules := description.get("tokenizer"):
        model = rules.get("model", {})
        if "vocab" not in model:
            model = {"type": "BPE", "byte_fallback": False, **json.loads((HERE / "vocabulary.json").read_text()), **model}
        tokenizer = {"version": "1.0", "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer | rules | {"model": model}))
    else:
        shutil.copy(HERE / "tiny-gemma3/tokenizer.model", folder / "tokenizer.model")
    header, data = {}, b""
    for dtype, tensors in description["tensors"].items():
        for name, spec in tensors.items():
            part = elements(name, dtype, spec)
            shape = spec if isinstance(spec, list) else spec["shape"]
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
            data += part
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def convert(description: dict, folder: Path, out: Path) -> None:
    """Runs the reference, which is told the pre-tokenizer's name."""
    import convert_hf_to_gguf
    from conversion.base import ModelBase, TextModel

    reference = description.get("reference", {})
    pre = description["expected"]["keys"].get("tokenizer.ggml.pre", ["", ""])[1]
    known, load = TextModel.get_vocab_base_pre, ModelBase.load_hparams

    def config(path, is_mistral_format=False):
        loaded = json.loads((folder / "config.json").read_text()) if reference.get("raw_config") else load(path, is_mistral_format)
        return loaded | reference.get("config", {})

    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    ModelBase.load_hparams = staticmethod(config)
    try:
        sys.argv = ["convert", "--outfile", str(out), "--outtype", description["out_type"], str(folder)]
        convert_hf_to_gguf.main()
    finally:
        TextModel.get_vocab_base_pre, ModelBase.load_hparams = known, staticmethod(load)


def recorded(path: Path) -> dict:
    """Keys and tensors of a file, arrays and data as digests."""
    import gguf

    reader, keys = gguf.GGUFReader(path), {}
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        kind, value = gguf.GGUFValueType(field.types[-1]).name, field.contents()
        if len(field.types) == 1:
            keys[key] = [kind, value.item() if isinstance(value, np.generic) else value]
            continue
        match kind:
            case "STRING":
                data = b"".join(text.encode() + b"\0" for text in value)
            case "FLOAT32":
                data = np.array(value, np.float64).tobytes()
            case "BOOL":
                data = bytes(map(int, value))
            case _:
                data = np.array(value, np.int64).tobytes()
        keys[key] = [kind, len(value), f"{fnv(data):016x}"]
    tensors = {t.name: [t.tensor_type.name, [int(d) for d in t.shape], f"{fnv(t.data.tobytes()):016x}"] for t in reader.tensors}
    return {"keys": keys, "tensors": tensors}


def written(description: dict) -> str:
    """A description with a line for each tensor and key."""

    def compact(value) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def rows(table: dict) -> str:
        return "{\n" + ",\n".join(f"  {compact(key)}:{compact(value)}" for key, value in table.items()) + "}"

    parts = []
    for key, value in description.items():
        if key in ("tensors", "expected"):
            value = "{" + ",\n".join(f"{compact(name)}:{rows(table)}" for name, table in value.items()) + "}"
        else:
            value = compact(value)
        parts.append(f"{compact(key)}:{value}")
    return "{" + ",\n".join(parts) + "}\n"


def main() -> None:
    """Records each description that is named."""
    checkout, *paths = sys.argv[1:]
    sys.path[:0] = [checkout, f"{checkout}/gguf-py"]
    for path in map(Path, paths):
        description = json.loads(path.read_text())
        reference = description.get("reference", {})
        if reference.get("numpy"):
            print(f"{path}: the reference does not read this format")
            continue
        with tempfile.TemporaryDirectory() as parent:
            folder, out = Path(parent) / path.stem, Path(parent) / "out.gguf"
            write_folder(description, folder)
            convert(description, folder, out)
            old, description["expected"] = description["expected"], recorded(out)
        for key in reference.get("beyond", []):
            description["expected"]["keys"][key] = old["keys"][key]
        path.write_text(written(description))


if __name__ == "__main__":
    main()
