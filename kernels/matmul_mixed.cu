// Products with matrices of different formats in one launch (quant_gemv.cuh, quant_matmul.cuh): the formats that files mix in one layer the most.
// crates/cuda/src/ops/matmul/mixed.rs lists them too; matrices of others have launches of their own.
#include "f16.cuh"
#include "q4_0.cuh"
#include "q4_k.cuh"
#include "q5_0.cuh"
#include "q5_k.cuh"
#include "q6_k.cuh"
#include "q8_0.cuh"
#include "quant_gemv.cuh"
#include "quant_matmul.cuh"

using AnyChunk = Formats<Q4_K<1>, Q5_K<1>, Q6_K<1>, Q8_0<1>, Q4_0<1>, Q5_0<1>, F16<1>>;
using AnySlot = Formats<Q4_K<2>, Q5_K<2>, Q6_K<2>, Q8_0<1>, Q4_0<1>, Q5_0<1>>;
GEMV(mixed, AnySlot)
MATMUL(mixed, AnyChunk)
