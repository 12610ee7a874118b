// What happens to a token's heads before attention over latents (MLA, its up-projections absorbed):
//   q[head] = [absorbed[head] | rope(last rope_dim of q_rows[head])] * scale -> q_out f16
//   k = [c / sqrt(mean(c^2) + eps) * norm | rope(r)] -> cache, where [c | r] is the token's row of kv
// rope as in rope_kv.cu. There is one key a token; the first kv_rank elements of it are the value.
//
// absorbed f32 [tokens][num_heads * kv_rank]; q_rows f32 [tokens][num_heads * q_dim]; kv f32 [tokens][kv_stride]; norm f32 [kv_rank];
// q_out [tokens][num_heads * (kv_rank + rope_dim)]; kv_rank + rope_dim at most 640 (q8_0: a multiple of 32), rope_dim even, at most
// 256. Tokens with slot NO_SLOT are left out. Grid ((num_heads + 1) / 4, tokens), block 128: a warp has a head, the last one the key.
// Bytes moved: 4 a value read, 2 (q8_0: 1.06) written.
#include "mma.cuh"
#include "reduce.cuh"
#include "rope.cuh"

static constexpr unsigned MAX_HEAD = 640;
static constexpr unsigned MAX_ROPE = 256;
static constexpr unsigned WARPS = 4;

struct RopeLatentArgs {
    const float* absorbed;
    const float* q_rows;
    const float* kv;
    const float* norm;
    const float* inv_freqs;
    const unsigned* positions;
    const unsigned* slot_mapping;
    unsigned short* q_out;
    KvPlanes cache;
    unsigned kv_stride;
    unsigned num_heads;
    unsigned kv_rank;
    unsigned rope_dim;
    unsigned q_dim;
    unsigned style;
    float eps;
    float scale;
    float magnitude;
};

extern "C" __global__ void __launch_bounds__(WARPS * 32) rope_latent(const __grid_constant__ RopeLatentArgs args) {
    __shared__ __align__(16) float heads[WARPS][MAX_HEAD];
    __shared__ float2 sines[MAX_ROPE / 2];
    unsigned token = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    unsigned slot = args.slot_mapping[token], position = args.positions[token];
    unsigned head = blockIdx.x * WARPS + warp, len = args.kv_rank + args.rope_dim;
    grid_launch_dependents();
    LaneValues<MAX_HEAD> latent, weight;
    LaneValues<MAX_ROPE> rotated;
    if (head == args.num_heads) weight.load(args.norm, args.kv_rank, lane);
    if (threadIdx.x < args.rope_dim / 2) sines[threadIdx.x] = rope_sines(position, args.inv_freqs[threadIdx.x], args.magnitude);
    __syncthreads();
    grid_wait();
    if (slot == NO_SLOT || head > args.num_heads) return;
    float* x = heads[warp];
    const float* kv = args.kv + (size_t)token * args.kv_stride;
    size_t row = (size_t)token * args.num_heads + head;
    bool is_key = head == args.num_heads;
    latent.load(is_key ? kv : args.absorbed + row * args.kv_rank, args.kv_rank, lane);
    rotated.load(is_key ? kv + args.kv_rank : args.q_rows + (row + 1) * args.q_dim - args.rope_dim, args.rope_dim, lane);
    if (is_key) {
        latent.scale(1.0f / sqrtf(latent.sum_squares() / (float)args.kv_rank + args.eps));
        latent.multiply(weight);
    }
    latent.store(x, args.kv_rank, lane);
    rotated.store(x + args.kv_rank, args.rope_dim, lane);
    __syncwarp();
    rotate_pairs<MAX_ROPE>(x + args.kv_rank, sines, args.rope_dim / 2, args.style != 0, lane);
    __syncwarp();
    if (!is_key) {
        write_halves<MAX_HEAD>(args.q_out + row * len, x, args.scale, len, lane);
        return;
    }
    size_t at = kv_row(slot / KV_BLOCK, 1, 0, slot % KV_BLOCK);
    if (args.cache.k_scale == nullptr) write_halves<MAX_HEAD>((unsigned short*)args.cache.k + at * len, x, 1.0f, len, lane);
    else write_q8((signed char*)args.cache.k + at * len, args.cache.k_scale + at * (len / 32), x, len, lane);
}
