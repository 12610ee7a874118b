//! Steps in flight: what the host keeps of each until it is collected.
//!
//! There are two places, used in turn, so that the next step's metadata is laid out while the device still reads that of
//! the one before.

use exec::{StepOutput, StepPlan};

use crate::{
    batch::{Batch, BatchLayout},
    device::{Device, Event, Pinned},
    error::CudaError,
    ops::sampling::SampleResult,
};

/// Steps that may be in flight.
pub(crate) const MAX_IN_FLIGHT: usize = 2;

/// A place for a step.
pub(crate) struct Step {
    pub(crate) plan: StepPlan,
    pub(crate) batch: Batch,
    /// The metadata as it is uploaded.
    pub(crate) words: Pinned<u32>,
    pub(crate) results: Pinned<SampleResult>,
    /// After everything that the device does for the step.
    pub(crate) done: Event,
    /// What the step gave, where that is known before it is collected.
    pub(crate) output: Option<StepOutput>,
}

/// All places, and which of them are in use.
pub(crate) struct Steps {
    places: [Step; MAX_IN_FLIGHT],
    num_launched: u64,
    num_collected: u64,
}

impl Step {
    fn new(device: &Device, layout: &BatchLayout) -> Result<Self, CudaError> {
        Ok(Self {
            plan: StepPlan::default(),
            batch: Batch::default(),
            words: Pinned::new(device, layout.num_words())?,
            results: Pinned::new(device, layout.logit_tokens.len())?,
            done: Event::new(device)?,
            output: None,
        })
    }

    /// Whether the host has to look at what the next step overwrites: logits, to choose a token or because they were asked
    /// for, or hidden states.
    pub(crate) fn needs_host(&self) -> bool {
        let on_host = self.batch.params.iter().any(|params| params.needs_host());
        on_host || self.plan.wants_hidden() || self.plan.sampled().any(|(_, sample)| sample.want_logits)
    }
}

impl Steps {
    /// Takes the memory of all places.
    pub(crate) fn new(device: &Device, layout: &BatchLayout) -> Result<Self, CudaError> {
        let places = [Step::new(device, layout)?, Step::new(device, layout)?];
        Ok(Self { places, num_launched: 0, num_collected: 0 })
    }

    /// The place of the next step.
    ///
    /// # Panics
    /// When all are in use.
    pub(crate) fn next(&mut self) -> &mut Step {
        let (next, last) = (self.num_launched + 1, self.num_collected);
        assert!(
            next - last <= MAX_IN_FLIGHT as u64,
            "step {next} was launched when step {last} was the last collected"
        );
        &mut self.places[place(next)]
    }

    /// Counts the next step as launched and returns its number, from 1.
    pub(crate) fn launched(&mut self) -> u64 {
        self.num_launched += 1;
        self.num_launched
    }

    /// The step that was launched last, unless it is collected.
    pub(crate) fn last(&mut self) -> Option<&mut Step> {
        if self.num_launched > self.num_collected { Some(&mut self.places[place(self.num_launched)]) } else { None }
    }

    /// The oldest step in flight, which counts as collected from here on.
    ///
    /// # Panics
    /// When it is another one than the number says.
    pub(crate) fn collect(&mut self, number: u64) -> &mut Step {
        self.num_collected += 1;
        assert_eq!(number, self.num_collected, "tickets are collected in the order of their launch");
        &mut self.places[place(number)]
    }
}

fn place(number: u64) -> usize {
    (number % MAX_IN_FLIGHT as u64) as usize
}
