// Weights on their way (sm_80 and later): a ring of slots in shared memory, of a warp's own, that asynchronous copies fill a few
// slots ahead, so that as much as needed is in flight whatever registers are left.
#pragma once
#include "mma.cuh"
#include "quant_formats.cuh"

#if __CUDA_ARCH__ >= 800
// A warp's weights on their way. A slot (quant_formats.cuh) holds the planes of 16 rows and SPAN chunks, one after the other.
template <class F, unsigned DEPTH> struct WeightRing {
    static_assert(DEPTH >= 2, "one slot is read while another is filled");
    const QuantPlanes& from;
    unsigned next, end;     // slots still to be asked for, counted over all tiles
    unsigned base;          // shared address
    unsigned filled, used;  // slots, in bytes
    // Slots first .. first + count, through DEPTH slots at a shared address.
    __device__ __forceinline__ WeightRing(const QuantPlanes& planes, unsigned first, unsigned count, unsigned address)
        : from(planes), next(first), end(first + count), base(address), filled(0), used(0) {
#pragma unroll
        for (unsigned i = 1; i < DEPTH; i++) fill();
    }
    template <unsigned BYTES> __device__ __forceinline__ void copy(unsigned to, const unsigned char* plane) const {
        unsigned lane = threadIdx.x & 31u;
        plane += (size_t)next * BYTES + lane * 16;
#pragma unroll
        for (unsigned i = 0; i < BYTES; i += 512) {
            if (BYTES - i >= 512 || lane * 16 < BYTES - i) {
                asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to + i + lane * 16), "l"(plane + i) : "memory");
            }
        }
    }
    // Asks for the next slot; an empty group where there is none keeps the count.
    __device__ __forceinline__ void fill() {
        if (next < end) {
            unsigned to = base + filled;
            if constexpr (F::LOW > 0) copy<F::LOW>(to, from.low);
            if constexpr (F::HIGH > 0) copy<F::HIGH>(to + F::LOW, from.high);
            if constexpr (F::SCALE > 0) copy<F::SCALE>(to + F::LOW + F::HIGH, from.scale);
            if constexpr (F::SUPER > 0) copy<F::SUPER>(to + F::LOW + F::HIGH + F::SCALE, from.super);
            next++;
        }
        copy_async_commit();
        filled = filled == (DEPTH - 1) * F::BYTES ? 0 : filled + F::BYTES;
    }
    // The next slot, here by now; the one before it is filled again.
    __device__ __forceinline__ SharedPlanes turn() {
        copy_async_wait<DEPTH - 2>();
        __syncwarp();
        fill();
        SharedBytes slot{base + used};
        used = used == (DEPTH - 1) * F::BYTES ? 0 : used + F::BYTES;
        return {slot, slot + F::LOW, slot + (F::LOW + F::HIGH), slot + (F::LOW + F::HIGH + F::SCALE)};
    }
};
#endif
