// The k best logits of a row, in order, by one block of threads: without reading the row again.
//
// The scan left the maximum of every group. With `floor` at most the k-th largest maximum, k groups at least hold a logit that
// reaches it; so all of the k best do, and only groups whose maximum reaches it are read. A changed logit (bias, penalties) may
// leave its group below the floor: with n changes the floor is taken from k + n groups. Where too many logits reach the floor
// (ties, few groups), the k-th best is found digit by digit instead.
#pragma once
#include "sampling.cuh"

constexpr unsigned CHOOSE_THREADS = 1024, MAX_CANDIDATES = 2048, RADIX_BINS = 2048;

struct SelectShared {
    unsigned long long found[MAX_CANDIDATES];  // or, while it counts digits, RADIX_BINS counters
    unsigned num_found;
    unsigned digit, above;  // of the digit that was found: itself, and how many logits are above it
    unsigned scratch[3][32];
};

// A row as the choosing block sees it (in shared memory, which spares registers). `changed` has a bit per token, set where a
// change lists it.
struct Row {
    const float* logits;
    const float4* maxima;
    const LogitChange* changes;
    const unsigned* changed;
    SampleParams params;
    unsigned vocab;
    unsigned quads;  // groups / 4
    bool aligned;    // the stride is a multiple of 4
};

static __device__ __forceinline__ bool is_changed(const Row& row, unsigned id) { return row.changed[id >> 5] >> (id & 31u) & 1u; }

static __device__ float logit_after_changes(const Row& row, unsigned id) {
    float logit = row.logits[id];
    if (!is_changed(row, id)) return logit;
    unsigned first = 0, end = row.params.num_changes;
    while (end - first > 1) {
        unsigned middle = (first + end) / 2;
        if (row.changes[middle].token <= id) first = middle;
        else end = middle;
    }
    return changed_logit(row.params, row.changes[first], logit);
}

// Groups whose maximum reaches `floor`.
static __device__ __forceinline__ unsigned count_groups(const Row& row, unsigned floor) {
    unsigned count = 0;
    for (unsigned base = 0; base < row.quads; base += CHOOSE_THREADS) {
        unsigned quad = base + threadIdx.x;
        float4 m = quad < row.quads ? row.maxima[quad] : make_float4(not_a_number(), not_a_number(), not_a_number(), not_a_number());
        count += __syncthreads_count(group_key(m.x) >= floor) + __syncthreads_count(group_key(m.y) >= floor);
        count += __syncthreads_count(group_key(m.z) >= floor) + __syncthreads_count(group_key(m.w) >= floor);
    }
    return count;
}

// A key that `wanted` groups reach, and not many more; 0 where there are fewer groups.
static __device__ unsigned find_floor(const Row& row, unsigned wanted, SelectShared& shared) {
    unsigned own = 0, least = 0xffffffffu;
    for (unsigned quad = threadIdx.x; quad < row.quads; quad += CHOOSE_THREADS) {
        float4 m = row.maxima[quad];
        unsigned keys[4] = {group_key(m.x), group_key(m.y), group_key(m.z), group_key(m.w)};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            own = max(own, keys[i]);
            if (keys[i] != 0) least = min(least, keys[i]);
        }
    }
    unsigned high = block_max(own, shared.scratch[0]);
    if (wanted == 1) return high;
    // The threads' own maxima are groups too, larger ones: one barrier counts them.
    bool coarse = (unsigned)__syncthreads_count(own != 0) >= wanted * 2;
    unsigned low = ~block_max(~(coarse && own != 0 ? own : least), shared.scratch[1]);
    if (!coarse && count_groups(row, low) < wanted) return 0;
    high += 1;
    while (high - low > 1) {  // so many reach `low`, fewer `high`
        unsigned middle = low + (high - low) / 2;
        unsigned count = coarse ? __syncthreads_count(own >= middle) : count_groups(row, middle);
        if (count < wanted) {
            high = middle;
        } else {
            low = middle;
            if (count <= wanted + wanted / 8 + 4) break;
        }
    }
    return low;
}

static __device__ __forceinline__ void add_candidate(SelectShared& shared, unsigned key, unsigned id) {
    unsigned place = atomicAdd(&shared.num_found, 1u);
    if (place < MAX_CANDIDATES) shared.found[place] = candidate(key, id);
}

// Adds the logits of a group that reach the floor.
template <bool CHANGES> static __device__ __forceinline__ void add_group(const Row& row, unsigned group, unsigned floor, SelectShared& shared) {
    unsigned start = group_start(group);
    const float* logits_of_row = row.logits;
    unsigned vocab = row.vocab;
    bool aligned = row.aligned;
    float4 pieces[PIECES];
#pragma unroll
    for (unsigned i = 0; i < PIECES; i++) {
        unsigned id = start + i * GROUP_STEP;
        if (id < vocab) pieces[i] = load4(logits_of_row, id, vocab, aligned);
    }
#pragma unroll
    for (unsigned i = 0; i < PIECES; i++) {
        float logits[4] = {pieces[i].x, pieces[i].y, pieces[i].z, pieces[i].w};
#pragma unroll
        for (unsigned j = 0; j < 4; j++) {
            unsigned id = start + i * GROUP_STEP + j;
            if (id >= vocab) continue;
            unsigned key = logit_key(logits[j]);
            if (key >= floor && !(CHANGES && is_changed(row, id))) add_candidate(shared, key, id);
        }
    }
}

// Gathers all logits that reach the floor; gives their number, which may exceed what was kept.
template <bool CHANGES> static __device__ unsigned gather(const Row& row, unsigned floor, SelectShared& shared) {
    if (threadIdx.x == 0) shared.num_found = 0;
    __syncthreads();
    for (unsigned quad = threadIdx.x; quad < row.quads; quad += CHOOSE_THREADS) {
        float4 m = row.maxima[quad];
        unsigned reach = (group_key(m.x) >= floor) | (group_key(m.y) >= floor) << 1 | (group_key(m.z) >= floor) << 2 | (group_key(m.w) >= floor) << 3;
        for (; reach != 0; reach &= reach - 1) add_group<CHANGES>(row, quad * 4 + __ffs(reach) - 1, floor, shared);
    }
    if (CHANGES) {
        for (unsigned i = threadIdx.x; i < row.params.num_changes; i += CHOOSE_THREADS) {
            LogitChange change = row.changes[i];
            unsigned key = logit_key(changed_logit(row.params, change, row.logits[change.token]));
            if (key >= floor) add_candidate(shared, key, change.token);
        }
    }
    __syncthreads();
    return shared.num_found;
}

template <bool CHANGES> static __device__ __forceinline__ unsigned key_of(const Row& row, unsigned id) {
    return logit_key(CHANGES ? logit_after_changes(row, id) : row.logits[id]);
}

// Finds the digit (`bits` from `shift` up) of the `wanted`-th largest among the keys whose higher bits are `prefix`.
template <bool CHANGES>
static __device__ void find_digit(const Row& row, unsigned prefix, unsigned shift, unsigned bits, unsigned wanted, SelectShared& shared) {
    unsigned* bins = (unsigned*)shared.found;
    unsigned lane = threadIdx.x & 31u, num_bins = 1u << bits;
    for (unsigned i = threadIdx.x; i < RADIX_BINS; i += CHOOSE_THREADS) bins[i] = 0;
    __syncthreads();
#pragma unroll 4
    for (unsigned base = 0; base < row.vocab; base += CHOOSE_THREADS) {
        unsigned id = base + threadIdx.x;
        unsigned key = id < row.vocab ? key_of<CHANGES>(row, id) : 0u;
        bool counts = id < row.vocab && (unsigned)((unsigned long long)(key ^ prefix) >> (shift + bits)) == 0;
        unsigned bin = key >> shift & (num_bins - 1);
        // Equal logits would queue up at one counter.
        unsigned active = __ballot_sync(0xffffffffu, counts);
        int first = __ffs(active) - 1;
        unsigned first_bin = __shfl_sync(0xffffffffu, bin, first < 0 ? 0 : first);
        if (__all_sync(0xffffffffu, !counts || bin == first_bin)) {
            if ((int)lane == first) atomicAdd(&bins[bin], __popc(active));
        } else if (counts) {
            atomicAdd(&bins[bin], 1u);
        }
    }
    __syncthreads();
    if (threadIdx.x < 32) {  // lane 0 has the highest bins
        unsigned each = num_bins / 32, from = num_bins - (lane + 1) * each, own = 0;
        for (unsigned i = 0; i < each; i++) own += bins[from + i];
        unsigned until = own;
#pragma unroll
        for (int i = 1; i < 32; i <<= 1) {
            unsigned before = __shfl_up_sync(0xffffffffu, until, i);
            if ((int)lane >= i) until += before;
        }
        unsigned above = until - own;
        if (above < wanted && wanted <= until) {
            unsigned bin = from + each - 1;
            while (above + bins[bin] < wanted) above += bins[bin--];
            shared.digit = bin;
            shared.above = above;
        }
    }
    __syncthreads();
}

// Gathers exactly the k best: all above the k-th largest key and, of those that equal it, the lowest ids. k <= vocab.
template <bool CHANGES> static __device__ void gather_exactly(const Row& row, unsigned k, SelectShared& shared) {
    unsigned least = 0, wanted = k;
#pragma unroll 1
    for (unsigned shift = 21, bits = 11;; shift = shift == 21 ? 10 : 0, bits = shift == 0 ? 10 : 11) {
        find_digit<CHANGES>(row, least, shift, bits, wanted, shared);
        least |= shared.digit << shift;
        wanted -= shared.above;
        __syncthreads();
        if (shift == 0) break;
    }
    if (threadIdx.x == 0) shared.num_found = 0;
    __syncthreads();
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, seen = 0;
    for (unsigned base = 0; base < row.vocab; base += CHOOSE_THREADS) {
        unsigned id = base + threadIdx.x;
        unsigned key = id < row.vocab ? key_of<CHANGES>(row, id) : 0u;
        if (key > least) add_candidate(shared, key, id);
        bool equal = key == least && id < row.vocab;
        unsigned count = __syncthreads_count(equal);
        if (count == 0 || seen >= wanted) continue;
        unsigned mask = __ballot_sync(0xffffffffu, equal);
        if (lane == 0) shared.scratch[2][warp] = __popc(mask);
        __syncthreads();
        unsigned before = seen + __popc(mask & ((1u << lane) - 1));
        for (unsigned i = 0; i < warp; i++) before += shared.scratch[2][i];
        if (equal && before < wanted) add_candidate(shared, key, id);
        seen += count;
        __syncthreads();
    }
    __syncthreads();
}

// Sorts found[0..count], descending, by exchanges; count <= MAX_CANDIDATES.
static __device__ void sort_found(SelectShared& shared, unsigned count) {
    unsigned size = 1;
    while (size < count) size *= 2;
    for (unsigned i = count + threadIdx.x; i < size; i += CHOOSE_THREADS) shared.found[i] = 0;
    __syncthreads();
    for (unsigned run = 2; run <= size; run *= 2) {
        for (unsigned step = run / 2; step > 0; step /= 2) {
            if (threadIdx.x < size / 2) {
                unsigned a = 2 * threadIdx.x - (threadIdx.x & (step - 1)), b = a + step;
                unsigned long long x = shared.found[a], y = shared.found[b];
                bool descending = (a & run) == 0;
                if (descending ? x < y : x > y) {
                    shared.found[a] = y;
                    shared.found[b] = x;
                }
            }
            // Steps up to 32 stay within a warp's 64 elements, and so do the next ones.
            if (step > 32 || (step == 1 && run >= 64)) __syncthreads();
            else __syncwarp();
        }
    }
    __syncthreads();
}

// Leaves the `k` best in order in shared.found; gives their number, less than k only where the vocabulary is smaller.
template <bool CHANGES> static __device__ unsigned select_best(const Row& row, unsigned k, SelectShared& shared) {
    k = min(k, row.vocab);
    unsigned count = gather<CHANGES>(row, find_floor(row, k + (CHANGES ? row.params.num_changes : 0), shared), shared);
    if (count > MAX_CANDIDATES) {
        gather_exactly<CHANGES>(row, k, shared);
        count = k;
    }
    sort_found(shared, count);
    return min(count, k);
}
