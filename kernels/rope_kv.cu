// What happens to a token's heads between the qkv product and attention:
//   q = rope(norm(q)) * scale -> q_out f16      k = rope(norm(k)) -> cache      v -> cache
// norm(x) = x / sqrt(mean(x^2) + eps) * weight, where there is a weight. rope turns pair i of the first rope_dim elements by
// position * inv_freqs[i]; pairs are (2i, 2i+1) (style 0, "norm") or (i, i + rope_dim/2) (style 1, "neox").
//
// qkv [tokens][row_stride] f32: num_heads query, num_kv_heads key, num_kv_heads value heads of head_dim (even, at most 256), row_stride
// even. positions, slot_mapping [tokens]; inv_freqs [rope_dim/2] f32; q_norm, k_norm [head_dim] f32 or null; q_out
// [tokens][num_heads * head_dim] f16. The cache as in include/kv_cache.cuh, q8_0 where it has scales. Tokens with slot NO_SLOT are
// left out. The scale is applied in f32: a large query shrinks before it becomes f16.
// Grid (heads / 8, tokens), block 256 threads: a warp has a head. Bytes moved: 4 a value read, 2 (q8_0: 1.06) written.
#include "kv_cache.cuh"
#include "mma.cuh"

static constexpr unsigned MAX_HEAD = 256;
static constexpr unsigned WARPS = 8;

struct RopeKvArgs {
    const float* qkv;
    const float* q_norm;
    const float* k_norm;
    const float* inv_freqs;
    const unsigned* positions;
    const unsigned* slot_mapping;
    unsigned short* q_out;
    KvPlanes kv;
    unsigned row_stride;
    unsigned num_heads;
    unsigned num_kv_heads;
    unsigned head_dim;
    unsigned rope_dim;
    unsigned style;
    float eps;
    float scale;
};

// Sine and cosine of a large angle. x - k * pi/2 is exact in its first step: the product's lowest bit is that of pi/2 in f32, the
// difference is below 2, so it fits 24 bits; two more steps bring in the rest of pi/2. Right to about 1e-7 up to 2^20 or more,
// where the hardware's sine is off by radians and the library's takes local memory.
static __device__ __forceinline__ void sin_cos(float x, float* sine, float* cosine) {
    float k = rintf(x * 0.636619772f);
    float r = fmaf(-k, 1.57079637e+0f, x);
    r = fmaf(-k, -4.37113883e-8f, r);
    r = fmaf(-k, -1.71512489e-15f, r);
    float s = r * r;
    float p = fmaf(fmaf(fmaf(-1.9515295891e-4f, s, 8.3321608736e-3f), s, -1.6666654611e-1f), s * r, r);
    float q = fmaf(fmaf(2.443315711809948e-5f, s, -1.388731625493765e-3f), s, 4.166664568298827e-2f);
    q = fmaf(q, s * s, fmaf(-0.5f, s, 1.0f));
    int quadrant = (int)k;
    float a = quadrant & 1 ? q : p, b = quadrant & 1 ? p : q;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}

static __device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) x += __shfl_xor_sync(0xffffffffu, x, i);
    return x;
}

// x = x / rms(x) * weight.
static __device__ __forceinline__ void norm_head(float* x, const float* weight, const RopeKvArgs& args, unsigned lane) {
    float sum = 0.0f;
    for (unsigned i = lane; i < args.head_dim; i += 32) sum = fmaf(x[i], x[i], sum);
    float inverse = 1.0f / sqrtf(warp_sum(sum) / (float)args.head_dim + args.eps);
    for (unsigned i = lane; i < args.head_dim; i += 32) x[i] = x[i] * inverse * weight[i];
}

static __device__ __forceinline__ void rotate_head(float* x, const float2* sines, const RopeKvArgs& args, unsigned lane) {
    unsigned pairs = args.rope_dim / 2;
    for (unsigned i = lane; i < pairs; i += 32) {
        unsigned first = args.style ? i : 2 * i, second = args.style ? i + pairs : 2 * i + 1;
        float a = x[first], b = x[second], sine = sines[i].x, cosine = sines[i].y;
        x[first] = a * cosine - b * sine;
        x[second] = a * sine + b * cosine;
    }
}

static __device__ __forceinline__ void write_halves(unsigned short* out, const float* x, float scale, unsigned len, unsigned lane) {
    for (unsigned i = lane; i < len / 2; i += 32) {
        ((unsigned*)out)[i] = kv_half(x[2 * i] * scale) | (unsigned)kv_half(x[2 * i + 1] * scale) << 16;
    }
}

// A lane takes four neighbouring values, eight lanes a block.
static __device__ __forceinline__ void write_q8(signed char* out, unsigned short* scales, const float* x, unsigned len, unsigned lane) {
    for (unsigned base = 0; base < len; base += 128) {
        unsigned at = base + lane * 4;
        float4 v = at < len ? *(const float4*)(x + at) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        float amax = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
#pragma unroll
        for (int i = 1; i < 8; i <<= 1) amax = fmaxf(amax, __shfl_xor_sync(0xffffffffu, amax, i));
        // The scale as readers see it, rounded to f16, so that its rounding does not add to the error.
        unsigned short scale = kv_half(amax / 127.0f);
        float inverse = kv_float(scale) > 0.0f ? 1.0f / kv_float(scale) : 0.0f;
        const float values[4] = {v.x, v.y, v.z, v.w};
        unsigned word = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int q = __float2int_rn(values[i] * inverse);
            word |= ((unsigned)(q > 127 ? 127 : (q < -127 ? -127 : q)) & 255u) << (8 * i);
        }
        if (at < len) {
            *(unsigned*)(out + at) = word;
            if (lane % 8 == 0) scales[at / 32] = scale;
        }
    }
}

static __device__ __forceinline__ void write_kv(const RopeKvArgs& args, bool is_value, unsigned head, unsigned slot, const float* x, unsigned lane) {
    size_t row = kv_row(slot / KV_BLOCK, args.num_kv_heads, head, slot % KV_BLOCK);
    void* plane = is_value ? args.kv.v : args.kv.k;
    unsigned short* scales = is_value ? args.kv.v_scale : args.kv.k_scale;
    if (scales == nullptr) {
        write_halves((unsigned short*)plane + row * args.head_dim, x, 1.0f, args.head_dim, lane);
    } else {
        write_q8((signed char*)plane + row * args.head_dim, scales + row * (args.head_dim / 32), x, args.head_dim, lane);
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) rope_kv(const __grid_constant__ RopeKvArgs args) {
    __shared__ __align__(16) float heads[WARPS][MAX_HEAD];
    __shared__ float2 sines[MAX_HEAD / 2];
    unsigned token = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    unsigned slot = args.slot_mapping[token];
    grid_launch_dependents();
    if (threadIdx.x < args.rope_dim / 2) {
        float2 pair;
        sin_cos(__fmul_rn((float)args.positions[token], args.inv_freqs[threadIdx.x]), &pair.x, &pair.y);
        sines[threadIdx.x] = pair;
    }
    __syncthreads();
    grid_wait();
    unsigned head = blockIdx.x * WARPS + warp, num_rotated = args.num_heads + args.num_kv_heads;
    if (slot == NO_SLOT || head >= num_rotated + args.num_kv_heads) return;
    float* x = heads[warp];
    const float2* source = (const float2*)(args.qkv + (size_t)token * args.row_stride + head * args.head_dim);
    for (unsigned i = lane; i < args.head_dim / 2; i += 32) ((float2*)x)[i] = source[i];
    __syncwarp();
    const float* weight = head < args.num_heads ? args.q_norm : (head < num_rotated ? args.k_norm : nullptr);
    if (weight != nullptr) norm_head(x, weight, args, lane);
    __syncwarp();
    if (head < num_rotated) rotate_head(x, sines, args, lane);
    __syncwarp();
    if (head < args.num_heads) {
        size_t row = (size_t)token * args.num_heads + head;
        write_halves(args.q_out + row * args.head_dim, x, args.scale, args.head_dim, lane);
    } else if (head < num_rotated) {
        write_kv(args, false, head - args.num_heads, slot, x, lane);
    } else {
        write_kv(args, true, head - num_rotated, slot, x, lane);
    }
}
