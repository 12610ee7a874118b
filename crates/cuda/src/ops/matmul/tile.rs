//! Products of several tokens: the kernels `matmul_T_F`, and which of their launches a product takes.

use std::cell::RefCell;

use crate::{
    Device,
    device::{Event, Kernel, Launch},
    error::CudaError,
    gpu::Gpu,
    kernels::{MIXED, Note},
    repack::CHUNK_COLS,
};

use super::{
    args::MatmulArgs,
    call::MatmulCall,
    kernels::{Products, names},
    plan::{Limits, MAX_CLUSTER, TilePlan, TileShape, tile_plan, tile_shapes, whole_plan},
    tuning::{Product, TileChoice, Tuning, fastest},
    workspace::Workspace,
};

/// Runs of a candidate; the fastest counts.
const TRIALS: usize = 3;

/// A kernel `matmul_T_F` and how many of its blocks run at a time, by the splits.
pub(super) struct Tile {
    shape: TileShape,
    kernel: Kernel,
    slots: [usize; MAX_CLUSTER],
}

impl Tile {
    pub(super) fn load(gpu: &Gpu, name: &'static str, shape: TileShape) -> Result<Self, CudaError> {
        let kernel = gpu.kernels.get(name)?;
        let shared_bytes = shape.shared_bytes() as u32;
        kernel.allow_shared_bytes(shared_bytes)?;
        let blocks_per_sm = kernel.blocks_per_sm(shape.threads(), shared_bytes)?.max(1);
        let mut slots = [(blocks_per_sm * gpu.device.info().num_sms) as usize; MAX_CLUSTER];
        for (splits, slots) in (1..).zip(&mut slots).skip(1).filter(|_| shape.is_clustered()) {
            *slots = (kernel.max_clusters(shape.threads(), shared_bytes, splits)? * splits) as usize;
        }
        tracing::debug!(kernel = name, ?slots, "blocks at a time, by splits");
        Ok(Self { shape, kernel, slots })
    }
}

/// A launch that was timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The kernel's shape.
    pub kernel: &'static str,
    /// Parts of the columns.
    pub splits: usize,
    /// Microseconds of all that ran.
    pub micros: f64,
}

/// Chooses among the kernels of a product's formats, and has the memory they share.
pub(super) struct Tiles {
    shapes: Vec<TileShape>,
    workspace: Workspace,
    tuning: RefCell<Tuning>,
    /// Where the choices are kept from one start to the next.
    note: Note,
}

/// A launch that was chosen.
pub(super) struct TileLaunch<'a> {
    tile: &'a Tile,
    plan: TilePlan,
}

impl Tiles {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        let tiles = Self {
            shapes: tile_shapes(gpu.device.arch().number()),
            workspace: Workspace::new(&gpu.device)?,
            tuning: RefCell::default(),
            note: gpu.note(MIXED.file, "products"),
        };
        if let Some(text) = tiles.note.load() {
            let tile = |name: &str| tiles.shapes.iter().position(|shape| shape.kernel == name);
            let format = |name: &str| names().find(|known| *known == name);
            tiles.tuning.borrow_mut().read(&text, (format, tile), |product, choice| tiles.is_possible(product, choice));
        }
        Ok(tiles)
    }

    /// Whether a launch that was written down earlier can be.
    fn is_possible(&self, product: &Product, choice: TileChoice) -> bool {
        let Product { rows, cols, tokens, .. } = product;
        let shape = &self.shapes[choice.tile];
        // What is possible does not depend on how many blocks run at a time.
        let (_, most) = whole_plan(shape, rows, cols.div_ceil(CHUNK_COLS), *tokens, self.limits([1; MAX_CLUSTER]));
        shape.tokens() == *tokens && (1..=most).contains(&choice.splits)
    }

    /// Keeps what was measured for the next start.
    pub(super) fn save(&self) {
        self.note.store(&self.tuning.borrow().write(|tile| self.shapes[tile].kernel));
    }

    /// The memory that splits share.
    pub(super) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Which of its formats' kernels to launch for a call.
    pub(super) fn choose<'a>(&self, call: &MatmulCall<'_>, products: &'a Products) -> TileLaunch<'a> {
        let (rows, tiles) = (call.rows(), &products.tiles[..]);
        let product = || Product {
            format: products.name,
            rows: rows.clone(),
            cols: call.cols(),
            tokens: self.kernel_tokens(call.tokens),
        };
        let first = || self.modelled((tiles, self.default_tile(call.tokens)), &rows, call.chunks(), call.tokens);
        let candidates = || self.candidates(tiles, &rows, call.chunks(), call.tokens);
        let choice = self.tuning.borrow_mut().choose(product, candidates, first);
        let tile = &tiles[choice.tile];
        let (whole, _) = whole_plan(&tile.shape, &rows, call.chunks(), call.tokens, self.limits(tile.slots));
        TileLaunch { tile, plan: whole.with_splits(choice.splits) }
    }

    /// Queues it. The arguments' blocks are counted with [`TileLaunch::blocks`].
    pub(super) fn launch(
        &self,
        device: &Device,
        chosen: &TileLaunch<'_>,
        mut args: MatmulArgs,
    ) -> Result<(), CudaError> {
        let TileLaunch { tile: Tile { shape, kernel, .. }, plan } = chosen;
        args.splits = plan.splits as u32;
        let grid = [plan.blocks as u32, plan.token_tiles as u32, plan.splits as u32];
        let launch = Launch { grid, block: shape.threads(), shared_bytes: shape.shared_bytes() as u32 };
        let cluster = if shape.is_clustered() { args.splits } else { 1 };
        // SAFETY: the call was checked; `plan` keeps sums and counters in the workspace.
        unsafe { kernel.launch_clustered(device, launch, cluster, &args) }
    }

    /// Whether the best launch of every product in `run` is known.
    pub(super) fn knows(&self, run: &dyn Fn() -> Result<(), CudaError>) -> Result<bool, CudaError> {
        self.tuning.borrow_mut().begin(0);
        let result = run();
        let (_, seen) = self.tuning.borrow_mut().end();
        result?;
        Ok(seen.keys().all(|product| self.tuning.borrow().knows(product)))
    }

    /// Times `run` with each candidate of the products in it, and keeps the fastest for them. Returns what was measured.
    pub(super) fn tune(
        &self,
        device: &Device,
        run: &dyn Fn() -> Result<(), CudaError>,
    ) -> Result<Vec<Measured>, CudaError> {
        let mut micros = Vec::new();
        let seen = loop {
            self.tuning.borrow_mut().begin(micros.len());
            let time = time(device, run);
            let (more, seen) = self.tuning.borrow_mut().end();
            micros.push(time?);
            if !more {
                break seen;
            }
        };
        let idx = fastest(&micros);
        let mut measured = Vec::new();
        for (product, candidates) in seen {
            if measured.is_empty() {
                let names = candidates.iter().map(|c| (self.shapes[c.tile].kernel, c.splits));
                measured.extend(names.zip(&micros).map(|((kernel, splits), &micros)| Measured {
                    kernel,
                    splits,
                    micros,
                }));
            }
            let choice = candidates.get(idx).copied().unwrap_or(candidates[0]);
            self.tuning.borrow_mut().keep(product, choice);
        }
        tracing::debug!(?measured, idx, "products");
        Ok(measured)
    }

    /// Tokens of the smallest kernel that takes so many, or of the largest.
    fn kernel_tokens(&self, tokens: usize) -> usize {
        self.shapes[self.default_tile(tokens)].tokens()
    }

    fn default_tile(&self, tokens: usize) -> usize {
        let largest = (0..self.shapes.len()).max_by_key(|&i| (self.shapes[i].tokens(), usize::MAX - i));
        let fits = (0..self.shapes.len()).find(|&i| self.shapes[i].tokens() >= tokens);
        fits.or(largest).unwrap_or(0)
    }

    fn limits(&self, slots: [usize; MAX_CLUSTER]) -> Limits {
        Limits { slots, partial_bytes: self.workspace.partial.num_bytes(), arrivals: self.workspace.num_arrivals() }
    }

    fn modelled(&self, (tiles, tile): (&[Tile], usize), rows: &[usize], chunks: usize, tokens: usize) -> TileChoice {
        let Tile { shape, slots, .. } = &tiles[tile];
        TileChoice { tile, splits: tile_plan(shape, rows, chunks, tokens, self.limits(*slots)).splits }
    }

    /// The model's choice first, then every kernel for so many tokens with halves and doubles of the splits that the model
    /// would take.
    fn candidates(&self, tiles: &[Tile], rows: &[usize], chunks: usize, tokens: usize) -> Vec<TileChoice> {
        let wanted = self.kernel_tokens(tokens);
        let mut found = vec![self.modelled((tiles, self.default_tile(tokens)), rows, chunks, tokens)];
        for (tile, Tile { shape, slots, .. }) in tiles.iter().enumerate().filter(|(_, t)| t.shape.tokens() == wanted) {
            let (_, most) = whole_plan(shape, rows, chunks, tokens, self.limits(*slots));
            let model = self.modelled((tiles, tile), rows, chunks, tokens).splits;
            for splits in [model, model / 2, model * 2, model / 4, model * 4, 3, 5, 6, 7] {
                let choice = TileChoice { tile, splits };
                if (1..=most).contains(&splits) && !found.contains(&choice) {
                    found.push(choice);
                }
            }
        }
        found
    }
}

impl TileLaunch<'_> {
    /// Blocks along the rows of a matrix.
    pub(super) fn blocks(&self, rows: usize) -> usize {
        rows.div_ceil(self.tile.shape.rows())
    }
}

fn time(device: &Device, run: &dyn Fn() -> Result<(), CudaError>) -> Result<f64, CudaError> {
    let (start, end) = (Event::new(device)?, Event::new(device)?);
    run()?;
    let mut best = f64::INFINITY;
    for _ in 0..TRIALS {
        start.record()?;
        run()?;
        end.record()?;
        best = best.min(start.micros_until(&end)?);
    }
    Ok(best)
}
