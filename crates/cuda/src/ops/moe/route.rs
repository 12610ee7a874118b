//! From the router's logits to pairs, listed by expert.

use model::Moe;

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
};

use super::{MAX_EXPERTS, MAX_USED, Routes, max_tiles, refuse};

/// Tokens of a block: a warp each.
const ROUTE_WARPS: usize = 8;
/// Threads of the one block that lists pairs.
const GROUP_THREADS: u32 = 1024;

/// The kernels that choose experts.
#[derive(Debug)]
pub struct Route {
    route: Kernel,
    group: Kernel,
}

/// One choice.
#[derive(Clone, Copy, Debug)]
pub struct RouteCall<'a> {
    /// `[tokens, num_experts]`.
    pub logits: Span<f32>,
    /// Number of tokens.
    pub tokens: usize,
    /// The slot of each token, `[tokens]`: tokens whose slot is `u32::MAX` are padding and pass no expert.
    pub slots: Option<Span<u32>>,
    /// How experts are chosen.
    pub spec: &'a Moe,
    /// Where the choice goes.
    pub routes: Routes,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MoeRouteArgs {
    logits: DevicePtr,
    slots: DevicePtr,
    experts: DevicePtr,
    weights: DevicePtr,
    tokens: u32,
    num_experts: u32,
    num_used: u32,
    normalize: u32,
}

// SAFETY: `MoeRouteArgs` of kernels/moe_route.cu.
unsafe impl KernelArgs for MoeRouteArgs {}

#[repr(C)]
#[derive(Clone, Copy)]
struct MoeGroupArgs {
    experts: DevicePtr,
    order: DevicePtr,
    tiles: DevicePtr,
    pairs: u32,
    num_experts: u32,
    max_tiles: u32,
}

// SAFETY: `MoeGroupArgs` of kernels/moe_route.cu.
unsafe impl KernelArgs for MoeGroupArgs {}

impl Route {
    /// Looks the kernels up.
    ///
    /// # Errors
    /// [`CudaError`] when they cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self { route: gpu.kernels.get("moe_route")?, group: gpu.kernels.get("moe_group")? })
    }

    /// Queues two launches.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`] when a launch is refused.
    pub fn run(&self, device: &Device, call: &RouteCall<'_>) -> Result<(), CudaError> {
        let RouteCall { logits, tokens, slots, spec, routes } = *call;
        let Moe { num_experts, num_used, .. } = *spec;
        if num_used == 0 || num_used > MAX_USED.min(num_experts) || num_experts > MAX_EXPERTS {
            return refuse(format!(
                "{num_used} of {num_experts} experts a token; the limits are {MAX_USED} of {MAX_EXPERTS}"
            ));
        }
        if logits.len() < tokens * num_experts {
            return refuse(format!("{} logits for {tokens} tokens and {num_experts} experts", logits.len()));
        }
        if let Some(slots) = slots.filter(|slots| slots.len() < tokens) {
            return refuse(format!("{} slots for {tokens} tokens", slots.len()));
        }
        let pairs = tokens * num_used;
        routes.check(pairs, num_experts)?;
        if tokens == 0 {
            return Ok(());
        }
        let args = MoeRouteArgs {
            logits: logits.ptr(),
            slots: slots.map_or(DevicePtr::NULL, |slots| slots.ptr()),
            experts: routes.experts.ptr(),
            weights: routes.weights.ptr(),
            tokens: tokens as u32,
            num_experts: num_experts as u32,
            num_used: num_used as u32,
            normalize: u32::from(spec.normalize),
        };
        let grid = [tokens.div_ceil(ROUTE_WARPS) as u32, 1, 1];
        let launch = Launch { grid, block: 32 * ROUTE_WARPS as u32, shared_bytes: 0 };
        // SAFETY: the buffers were checked to hold the logits and the pairs.
        unsafe { self.route.launch(device, launch, &args)? };
        let args = MoeGroupArgs {
            experts: routes.experts.ptr(),
            order: routes.order.ptr(),
            tiles: routes.tiles.ptr(),
            pairs: pairs as u32,
            num_experts: num_experts as u32,
            max_tiles: max_tiles(pairs, num_experts) as u32,
        };
        let launch = Launch { grid: [1, 1, 1], block: GROUP_THREADS, shared_bytes: 0 };
        // SAFETY: as above; the first kernel leaves experts below `num_experts` or none, whatever the logits are.
        unsafe { self.group.launch(device, launch, &args) }
    }
}

#[cfg(test)]
mod tests {
    use super::{MoeGroupArgs, MoeRouteArgs};

    #[test]
    fn arguments_are_laid_out_as_in_the_kernels() {
        assert_eq!((size_of::<MoeRouteArgs>(), std::mem::offset_of!(MoeRouteArgs, normalize)), (48, 44));
        assert_eq!((size_of::<MoeGroupArgs>(), std::mem::offset_of!(MoeGroupArgs, max_tiles)), (40, 32));
    }
}
