// Weights on their way (sm_80 and later): a ring of slots in shared memory, of a warp's own, that asynchronous copies fill a few
// slots ahead, so that as much as needed is in flight whatever registers are left.
#pragma once
#include "mma.cuh"
#include "quant_formats.cuh"

// Bytes of the planes of 16 rows in a slot of the ring: SPAN chunks, the smallest that no plane's records straddle.
template <class F> struct Slot;
template <unsigned CHUNKS, unsigned LOW_BYTES, unsigned HIGH_BYTES, unsigned SCALE_BYTES, unsigned SUPER_BYTES> struct SlotOf {
    static constexpr unsigned SPAN = CHUNKS, LOW = LOW_BYTES, HIGH = HIGH_BYTES, SCALE = SCALE_BYTES, SUPER = SUPER_BYTES;
    static constexpr unsigned BYTES = LOW + HIGH + SCALE + SUPER;
};
template <int CHUNKS> struct Slot<Q4_K<CHUNKS>> : SlotOf<2, 2048, 0, 256, 0> {};
template <int CHUNKS> struct Slot<Q5_K<CHUNKS>> : SlotOf<2, 2048, 512, 256, 0> {};
template <int CHUNKS> struct Slot<Q6_K<CHUNKS>> : SlotOf<2, 2048, 1024, 256, 32> {};
template <> struct Slot<Q8_0> : SlotOf<1, 2048, 0, 128, 0> {};
template <> struct Slot<Q4_0> : SlotOf<1, 1024, 0, 128, 0> {};
template <> struct Slot<Q5_0> : SlotOf<1, 1024, 256, 128, 0> {};
template <> struct Slot<F16> : SlotOf<1, 4096, 0, 0, 0> {};

#if __CUDA_ARCH__ >= 800
// A warp's weights on their way.
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
        using L = Slot<F>;
        if (next < end) {
            unsigned to = base + filled;
            copy<L::LOW>(to, from.low);
            if constexpr (L::HIGH > 0) copy<L::HIGH>(to + L::LOW, from.high);
            if constexpr (L::SCALE > 0) copy<L::SCALE>(to + L::LOW + L::HIGH, from.scale);
            if constexpr (L::SUPER > 0) copy<L::SUPER>(to + L::LOW + L::HIGH + L::SCALE, from.super);
            next++;
        }
        copy_async_commit();
        filled = filled == (DEPTH - 1) * L::BYTES ? 0 : filled + L::BYTES;
    }
    // The next slot, here by now; the one before it is filled again.
    __device__ __forceinline__ SharedPlanes turn() {
        using L = Slot<F>;
        copy_async_wait<DEPTH - 2>();
        __syncwarp();
        fill();
        SharedBytes slot{base + used};
        used = used == (DEPTH - 1) * L::BYTES ? 0 : used + L::BYTES;
        return {slot, slot + L::LOW, slot + (L::LOW + L::HIGH), slot + (L::LOW + L::HIGH + L::SCALE)};
    }
};
#endif
