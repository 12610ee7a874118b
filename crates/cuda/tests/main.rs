//! The operators and the executor on a GPU. Without one every test says `skipped` and passes, unless
//! `LLCUDA_REQUIRE_GPU=1`.

mod support;
