// What happens to a token's heads between the qkv product and attention:
//   q = rope(norm(q)) * scale -> q_out f16      k = rope(norm(k)) -> cache      v -> cache
// norm is one of
//   NORM_HEAD  each head by itself, x / sqrt(mean(x^2) + eps) * weight, all with the same weights [head_dim]
//   NORM_OWN   the same, each head with weights of its own, [heads][head_dim]
//   NORM_ALL   all heads of a token as one vector, weights as for NORM_OWN
//   NORM_UNIT  each head by itself, without weights, behind the rotation
// with the mean subtracted first where `centered` (not NORM_ALL). rope turns pair i of the first rope_dim elements by position *
// inv_freqs[i] and multiplies it by magnitude; pairs are (2i, 2i+1) (style 0, "norm") or (i, i + rope_dim/2) (style 1, "neox").
// Where temperature is not 0, queries are also multiplied by 1 + temperature * ln(1 + (position + offset) / floor).
//
// Where `unit_values`, values are normed as by NORM_UNIT.
//
// qkv [tokens][row_stride] f32: num_heads query, num_kv_heads key, num_kv_heads value heads of head_dim (even, at most 256, 512
// in rope_kv_large), or query heads alone (row_heads says how many heads there are), row_stride even. positions, slot_mapping [tokens]; inv_freqs [rope_dim/2] f32; q_norm, k_norm f32; q_out [tokens][num_heads * head_dim] f16. The
// cache as in include/kv_cache.cuh, q8_0 where it has scales. Tokens with slot NO_SLOT are left out. The scale is applied in f32: a
// large query shrinks before it becomes f16.
// Grid (heads / 8, tokens), block 256 threads: a warp has a head. Bytes moved: 4 a value read, 2 (q8_0: 1.06) written.
#include "mma.cuh"
#include "reduce.cuh"
#include "rope.cuh"

static constexpr unsigned WARPS = 8;

enum HeadNorm : unsigned { NORM_NONE, NORM_HEAD, NORM_OWN, NORM_ALL, NORM_UNIT };

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
    unsigned row_heads;
    unsigned head_dim;
    unsigned rope_dim;
    unsigned style;
    HeadNorm norm;
    unsigned centered;
    unsigned unit_values;
    float eps;
    float scale;
    float magnitude;
    float temperature;
    unsigned temperature_floor;
    unsigned temperature_offset;
};

// x / rms(x), with the mean subtracted first where `centered`.
template <class V> static __device__ __forceinline__ void norm_head(V& x, const RopeKvArgs& args, unsigned lane) {
    if (args.centered) x.center(args.head_dim, lane);
    x.scale(1.0f / sqrtf(x.sum_squares() / (float)args.head_dim + args.eps));
}

// 1 / rms of `len` values; the whole block works it out.
static __device__ __forceinline__ float row_inverse(const float* x, unsigned len, float eps, float* scratch) {
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < len; i += WARPS * 32) sum = fmaf(x[i], x[i], sum);
    return 1.0f / sqrtf(block_sum(sum, scratch) / (float)len + eps);
}

template <unsigned MAX_HEAD> static __device__ __forceinline__ void write_kv(const RopeKvArgs& args, bool is_value, unsigned head, unsigned slot, const float* x, unsigned lane) {
    size_t row = kv_row(slot / KV_BLOCK, args.num_kv_heads, head, slot % KV_BLOCK);
    void* plane = is_value ? args.kv.v : args.kv.k;
    unsigned short* scales = is_value ? args.kv.v_scale : args.kv.k_scale;
    if (scales == nullptr) {
        write_halves<MAX_HEAD>((unsigned short*)plane + row * args.head_dim, x, 1.0f, args.head_dim, lane);
    } else {
        write_q8((signed char*)plane + row * args.head_dim, scales + row * (args.head_dim / 32), x, args.head_dim, lane);
    }
}

template <unsigned MAX_HEAD> static __device__ __forceinline__ void rope_heads(const RopeKvArgs& args) {
    __shared__ __align__(16) float heads[WARPS][MAX_HEAD];
    __shared__ __align__(16) float scratch[2][16];
    __shared__ float2 sines[MAX_HEAD / 2];
    unsigned token = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    unsigned slot = args.slot_mapping[token], position = args.positions[token];
    unsigned head = blockIdx.x * WARPS + warp, num_rotated = args.num_heads + args.num_kv_heads, head_dim = args.head_dim;
    bool is_query = head < args.num_heads, is_rotated = head < num_rotated && head < args.row_heads;
    bool is_weighted = is_rotated && args.norm >= NORM_HEAD && args.norm <= NORM_ALL;
    grid_launch_dependents();
    // What other kernels do not write comes first: weights are not in the second-level cache.
    LaneValues<MAX_HEAD> weight, values;
    if (is_weighted) {
        const float* from = is_query ? args.q_norm : args.k_norm;
        if (args.norm != NORM_HEAD) from += (is_query ? head : head - args.num_heads) * head_dim;
        weight.load(from, head_dim, lane);
    }
    if (threadIdx.x < args.rope_dim / 2) sines[threadIdx.x] = rope_sines(position, args.inv_freqs[threadIdx.x], args.magnitude);
    __syncthreads();
    grid_wait();
    const float* row = args.qkv + (size_t)token * args.row_stride;
    float q_inverse = 0.0f, k_inverse = 0.0f;
    if (args.norm == NORM_ALL) {
        q_inverse = row_inverse(row, args.num_heads * head_dim, args.eps, scratch[0]);
        if (args.row_heads > args.num_heads) k_inverse = row_inverse(row + args.num_heads * head_dim, args.num_kv_heads * head_dim, args.eps, scratch[1]);
    }
    if (slot == NO_SLOT || head >= args.row_heads) return;
    values.load(row + head * head_dim, head_dim, lane);
    if (is_weighted) {
        if (args.norm == NORM_ALL) values.scale(is_query ? q_inverse : k_inverse);
        else norm_head(values, args, lane);
        values.multiply(weight);
    }
    float* x = heads[warp];
    values.store(x, head_dim, lane);
    __syncwarp();
    if (is_rotated) rotate_pairs<MAX_HEAD>(x, sines, args.rope_dim / 2, args.style != 0, lane);
    __syncwarp();
    if (is_rotated ? args.norm == NORM_UNIT : args.unit_values != 0) {
        values.load(x, head_dim, lane);
        norm_head(values, args, lane);
        values.store(x, head_dim, lane);
        __syncwarp();
    }
    if (is_query) {
        float scale = args.scale;
        if (args.temperature != 0.0f) scale *= fmaf(args.temperature, log1pf((float)((position + args.temperature_offset) / args.temperature_floor)), 1.0f);
        write_halves<MAX_HEAD>(args.q_out + ((size_t)token * args.num_heads + head) * head_dim, x, scale, head_dim, lane);
    } else if (is_rotated) {
        write_kv<MAX_HEAD>(args, false, head - args.num_heads, slot, x, lane);
    } else {
        write_kv<MAX_HEAD>(args, true, head - num_rotated, slot, x, lane);
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) rope_kv(const __grid_constant__ RopeKvArgs args) { rope_heads<256>(args); }
extern "C" __global__ void __launch_bounds__(WARPS * 32) rope_kv_large(const __grid_constant__ RopeKvArgs args) { rope_heads<512>(args); }
