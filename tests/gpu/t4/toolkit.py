"""The CUDA tools that the report needs, from PyPI: nvidia-cuda-nvrtc-cu12 (NVRTC) and nvidia-cuda-nvdisasm."""

import concurrent.futures
import ctypes
import glob
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile

ARCH = "sm_75"
# As crates/cuda/src/kernels/sources.rs compiles; `-v` makes ptxas say what a kernel uses.
OPTIONS = [f"--gpu-architecture={ARCH}", "--std=c++17", "-default-device", "--fmad=true", "--ptxas-options=-v"]


def site_folders():
    return [*site.getsitepackages(), site.getusersitepackages(), *sys.path]


def find(patterns, package):
    """The newest file that matches, or the end of the program with advice."""
    for folder in [os.environ.get("LLCUDA_NVRTC_DIR", ""), *site_folders()]:
        for pattern in patterns:
            found = sorted(glob.glob(os.path.join(folder, pattern)))
            if folder and found:
                return found[-1]
    sys.exit(f"error: no {package} here; install it: python3 -m pip install {package}")


class Nvrtc:
    """The compiler as a library."""

    def __init__(self):
        folders = ("", "nvidia/cuda_nvrtc/lib/", "nvidia/cu13/lib/")
        path = find([folder + "libnvrtc.so*" for folder in folders], "nvidia-cuda-nvrtc-cu12")
        for builtins in glob.glob(os.path.join(os.path.dirname(path), "libnvrtc-builtins.so*")):
            ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
        self.api = ctypes.CDLL(path)

    def text(self, program, what, size_of):
        size = ctypes.c_size_t()
        getattr(self.api, size_of)(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.api, what)(program, buffer)
        return buffer.raw

    def compile(self, name, source, headers):
        """Machine code and ptxas' log of one file; `headers` are name -> text."""
        program = ctypes.c_void_p()
        array = ctypes.c_char_p * len(headers)
        names, texts = array(*(n.encode() for n in headers)), array(*(t.encode() for t in headers.values()))
        self.api.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), len(headers), texts, names)
        options = (ctypes.c_char_p * len(OPTIONS))(*(o.encode() for o in OPTIONS))
        code = self.api.nvrtcCompileProgram(program, len(OPTIONS), options)
        log = self.text(program, "nvrtcGetProgramLog", "nvrtcGetProgramLogSize").rstrip(b"\0").decode()
        if code != 0:
            sys.exit(f"error: {name} does not compile for {ARCH}:\n{log}")
        cubin = self.text(program, "nvrtcGetCUBIN", "nvrtcGetCUBINSize")
        self.api.nvrtcDestroyProgram(ctypes.byref(program))
        return cubin, log


def disassemble(cubin):
    """nvdisasm's listing."""
    tool = shutil.which("nvdisasm") or find(["nvidia/*/bin/nvdisasm"], "nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([tool, "-c", "-ndf", file.name], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: nvdisasm: {done.stderr.strip()}")
    return done.stdout


def resources(log):
    """ptxas' words about every kernel: name -> (registers, static shared bytes, bytes spilled)."""
    found, name, spilled = {}, None, 0
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            name = match[1]
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(match[1]) + int(match[2])
        elif (match := re.search(r"Used (\d+) registers", line)) and name:
            shared = re.search(r"(\d+) bytes smem", line)
            found[name] = (int(match[1]), int(shared[1]) if shared else 0, spilled)
    return found


def compile_all(jobs, headers):
    """`jobs`: key -> (file name, source, headers that differ). Gives key -> (listing, resources), compiled side by side."""
    nvrtc = Nvrtc()

    def run(job):
        name, source, changed = job
        cubin, log = nvrtc.compile(name, source, headers | changed)
        return disassemble(cubin), resources(log)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(jobs, pool.map(run, jobs.values())))
