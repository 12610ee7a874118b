//! From the router's logits to pairs, listed by expert.

use model::{ExpertGroups, GroupScore, Moe, Scoring};

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
};

use super::{MAX_EXPERTS, MAX_USED, Routes, refuse};

/// Tokens of a block: a warp each.
const ROUTE_WARPS: usize = 8;
/// Groups of experts at most: a lane each.
const MAX_GROUPS: usize = 32;
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
    /// Added to the scores for the choice alone, `[num_experts]`.
    pub bias: Option<Span<f32>>,
    /// Where the choice goes.
    pub routes: Routes,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MoeRouteArgs {
    logits: DevicePtr,
    slots: DevicePtr,
    bias: DevicePtr,
    experts: DevicePtr,
    weights: DevicePtr,
    tokens: u32,
    num_experts: u32,
    num_used: u32,
    num_groups: u32,
    used_groups: u32,
    best_two: u32,
    sigmoid: u32,
    normalize: u32,
    weight_scale: f32,
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
    tile_pairs: u32,
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
        let args = call.args()?;
        if call.tokens == 0 {
            return Ok(());
        }
        let grid = [call.tokens.div_ceil(ROUTE_WARPS) as u32, 1, 1];
        let launch = Launch { grid, block: 32 * ROUTE_WARPS as u32, shared_bytes: 0 };
        // SAFETY: the buffers were checked to hold the logits and the pairs.
        unsafe { self.route.launch(device, launch, &args)? };
        let Moe { num_experts, num_used, .. } = *call.spec;
        self.group(device, (call.tokens * num_used, num_experts), call.routes)
    }

    /// Lists pairs whose experts are there already.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`] when the launch is refused.
    pub fn group(
        &self,
        device: &Device,
        (pairs, num_experts): (usize, usize),
        routes: Routes,
    ) -> Result<(), CudaError> {
        routes.check(pairs, num_experts)?;
        if num_experts > MAX_EXPERTS {
            return refuse(format!("{num_experts} experts; the limit is {MAX_EXPERTS}"));
        }
        let args = MoeGroupArgs {
            experts: routes.experts.ptr(),
            order: routes.order.ptr(),
            tiles: routes.tiles.ptr(),
            pairs: pairs as u32,
            num_experts: num_experts as u32,
            max_tiles: routes.grouping.max_tiles(pairs, num_experts) as u32,
            tile_pairs: routes.grouping.tile_pairs() as u32,
        };
        let launch = Launch { grid: [1, 1, 1], block: GROUP_THREADS, shared_bytes: 0 };
        // SAFETY: as above; whoever wrote the experts left some below `num_experts` or none, whatever the logits are.
        unsafe { self.group.launch(device, launch, &args) }
    }
}

impl RouteCall<'_> {
    fn args(&self) -> Result<MoeRouteArgs, CudaError> {
        let Self { logits, tokens, slots, spec, bias, routes } = *self;
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
        if let Some(bias) = bias.filter(|bias| bias.len() < num_experts) {
            return refuse(format!("{} biases for {num_experts} experts", bias.len()));
        }
        routes.check(tokens * num_used, num_experts)?;
        let groups = spec.groups.unwrap_or(ExpertGroups { count: 0, used: 0, score: GroupScore::Best });
        check_groups(spec)?;
        Ok(MoeRouteArgs {
            logits: logits.ptr(),
            slots: slots.map_or(DevicePtr::NULL, |slots| slots.ptr()),
            bias: bias.map_or(DevicePtr::NULL, |bias| bias.ptr()),
            experts: routes.experts.ptr(),
            weights: routes.weights.ptr(),
            tokens: tokens as u32,
            num_experts: num_experts as u32,
            num_used: num_used as u32,
            num_groups: groups.count as u32,
            used_groups: groups.used as u32,
            best_two: u32::from(groups.score == GroupScore::BestTwo),
            sigmoid: u32::from(spec.scoring == Scoring::Sigmoid),
            normalize: u32::from(spec.normalize),
            weight_scale: spec.weight_scale,
        })
    }
}

/// Groups must hold enough experts to choose from.
fn check_groups(spec: &Moe) -> Result<(), CudaError> {
    let Some(ExpertGroups { count, used, .. }) = spec.groups else { return Ok(()) };
    let divides = count > 0 && spec.num_experts.is_multiple_of(count);
    if !divides || count > MAX_GROUPS || used > count || used * (spec.num_experts / count) < spec.num_used {
        let (num_used, num_experts) = (spec.num_used, spec.num_experts);
        return refuse(format!(
            "{num_used} of {num_experts} experts from {used} of {count} groups; at most {MAX_GROUPS} groups of equal size \
             with enough experts are possible"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MoeGroupArgs, MoeRouteArgs};

    #[test]
    fn arguments_are_laid_out_as_in_the_kernels() {
        assert_eq!((size_of::<MoeRouteArgs>(), std::mem::offset_of!(MoeRouteArgs, weight_scale)), (80, 72));
        assert_eq!((size_of::<MoeGroupArgs>(), std::mem::offset_of!(MoeGroupArgs, max_tiles)), (40, 32));
    }
}
