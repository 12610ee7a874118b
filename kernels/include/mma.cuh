// Tensor-core products and asynchronous copies, one name for both instruction sets: sm_75 has m8n8k16 (s8) and m16n8k8 (f16),
// sm_80 and later m16n8k32 / m16n8k16 and cp.async.
#pragma once

#if __CUDA_ARCH__ < 800
static __device__ __forceinline__ void mma_m8n8k16(int& d0, int& d1, unsigned a, unsigned b) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};" : "+r"(d0), "+r"(d1) : "r"(a), "r"(b));
}
#endif

// d[16 rows][8 columns] += a[16][32] * b[32][8] in s8. d: rows g (0, 1) and g+8 (2, 3), columns 2t and 2t+1.
static __device__ __forceinline__ void mma_s8_k32(int* d, const unsigned* a, unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    mma_m8n8k16(d[0], d[1], a[0], b0);
    mma_m8n8k16(d[2], d[3], a[1], b0);
    mma_m8n8k16(d[0], d[1], a[2], b1);
    mma_m8n8k16(d[2], d[3], a[3], b1);
#endif
}

// The same over 16 columns of a: a0 row g, a1 row g+8.
static __device__ __forceinline__ void mma_s8_k16(int* d, unsigned a0, unsigned a1, unsigned b) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a0), "r"(a1), "r"(b));
#else
    mma_m8n8k16(d[0], d[1], a0, b);
    mma_m8n8k16(d[2], d[3], a1, b);
#endif
}

// d[16][8] += a[16][16] * b[16][8] in f16 with f32 sums; a0..a3 and b0, b1 as m16n8k16 has them.
static __device__ __forceinline__ void mma_f16_k16(float* d, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(b0));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a2), "r"(a3), "r"(b1));
#endif
}

#if __CUDA_ARCH__ >= 800
// Copies 16 bytes to shared memory in the background; zeros instead where `valid` is false.
static __device__ __forceinline__ void copy_async16(void* shared, const void* global, bool valid) {
    unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    unsigned bytes = valid ? 16u : 0u;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}
static __device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING> static __device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
#endif

// Programmatic dependent launch (sm_90): a kernel launched so may start while its predecessor still runs. Everything the
// predecessor writes may be read only after grid_wait; where the launch is ordinary, both are no-ops.
static __device__ __forceinline__ void grid_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
static __device__ __forceinline__ void grid_launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
