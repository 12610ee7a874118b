//! Streams a file through the encoders.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use gguf::{Gguf, Metadata, NewTensor, Value, ValueType, Writer, WriterOptions};
use quant::{Format, Isa};

use crate::{Plan, PlannedTensor, QuantizeError};

/// Weights that are encoded before they are written: at most 64 MiB, or one row for each thread.
const BATCH_WEIGHTS: usize = 16 << 20;
/// Weights that a thread takes at a time.
const TASK_WEIGHTS: usize = 64 << 10;

/// How a plan is carried out.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Replace a file that exists.
    pub overwrite: bool,
    /// Threads, at least 1.
    pub num_threads: usize,
    /// What the file says of the importance matrix: its name.
    pub imatrix_name: Option<String>,
}

/// What was lost, and where the result is.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file.
    pub paths: Vec<PathBuf>,
    /// Of each tensor of the plan.
    pub losses: Vec<Loss>,
}

/// The error of a tensor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    squared_error: f64,
    squared_weights: f64,
    num_weights: u64,
}

impl Loss {
    /// The root mean square of the difference.
    #[must_use]
    pub fn rmse(&self) -> f64 {
        (self.squared_error / self.num_weights.max(1) as f64).sqrt()
    }

    /// The same as a part of the weights' own root mean square.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.squared_weights > 0.0 { (self.squared_error / self.squared_weights).sqrt() } else { 0.0 }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.squared_error += other.squared_error;
        self.squared_weights += other.squared_weights;
        self.num_weights += other.num_weights;
    }
}

impl Plan {
    /// Writes the planned file; `progress` hears of bytes of the source that are done.
    ///
    /// # Errors
    /// [`QuantizeError`] when the output exists or cannot be written, or a weight is not finite. Nothing stands under the
    /// output's name then that was not there before.
    pub fn run(
        &self,
        gguf: &Gguf,
        output: &Path,
        options: &RunOptions,
        mut progress: impl FnMut(u64),
    ) -> Result<Report, QuantizeError> {
        let tensor =
            |t: &PlannedTensor| NewTensor { name: t.name.clone(), shape: t.source.shape.clone(), ggml_type: t.to };
        let tensors = self.tensors.iter().map(tensor).collect();
        let writer_options = WriterOptions { overwrite: options.overwrite, split: self.split() };
        let mut writer = Writer::create(output, &self.metadata(gguf, options), tensors, &writer_options)?;
        let mut losses = Vec::with_capacity(self.tensors.len());
        for t in &self.tensors {
            let data = gguf.data(&t.source);
            if t.to == t.source.ggml_type {
                writer.write_tensor(&t.name, data)?;
                progress(data.len() as u64);
                losses.push(Loss { num_weights: t.source.num_weights() as u64, ..Loss::default() });
                continue;
            }
            let conversion = Conversion::new(t, self.imatrix.as_ref().and_then(|i| i.get(&t.source.name)))?;
            let batch_rows = (BATCH_WEIGHTS / t.source.shape[0]).max(options.num_threads);
            let mut loss = Loss::default();
            for (i, rows) in data.chunks(batch_rows * conversion.from_bytes).enumerate() {
                let (encoded, of_batch) = conversion.run(i * batch_rows, rows, options.num_threads)?;
                writer.write(&encoded)?;
                loss.add(&of_batch);
                progress(rows.len() as u64);
            }
            losses.push(loss);
        }
        Ok(Report { paths: writer.finish()?, losses })
    }

    fn metadata(&self, gguf: &Gguf, options: &RunOptions) -> Metadata {
        let mut metadata = gguf.metadata().clone();
        self.pruning.apply(&mut metadata);
        if let Some(file_type) = self.file_type {
            metadata.insert_as("general.file_type", Value::Uint(u64::from(file_type.id())), ValueType::U32);
            metadata.insert_as("general.quantization_version", Value::Uint(2), ValueType::U32);
        }
        if let (Some(imatrix), Some(name)) = (&self.imatrix, &options.imatrix_name) {
            metadata.insert("quantize.imatrix.file", Value::String(name.clone()));
            if let Some(dataset) = imatrix.datasets.first() {
                metadata.insert("quantize.imatrix.dataset", Value::String(dataset.clone()));
            }
            let count = |n: u64| Value::Uint(n.min(u64::from(u32::MAX)));
            metadata.insert_as("quantize.imatrix.entries_count", count(imatrix.len() as u64), ValueType::U32);
            metadata.insert_as("quantize.imatrix.chunks_count", count(imatrix.num_chunks), ValueType::U32);
        }
        metadata
    }
}

/// How the rows of a tensor become rows of another type.
struct Conversion<'a> {
    tensor: &'a PlannedTensor,
    from: &'static Format,
    to: &'static Format,
    isa: Isa,
    num_columns: usize,
    from_bytes: usize,
    to_bytes: usize,
    importance: Option<&'a [f32]>,
}

/// Some rows and where they go.
struct Task<'a> {
    first_row: usize,
    rows: &'a [u8],
    out: &'a mut [u8],
    loss: &'a mut Loss,
}

impl<'a> Conversion<'a> {
    fn new(tensor: &'a PlannedTensor, importance: Option<&'a [f32]>) -> Result<Self, QuantizeError> {
        let format = |ggml_type| {
            Format::of(ggml_type).map_err(|source| QuantizeError::Source { tensor: tensor.source.name.clone(), source })
        };
        let (from, to) = (format(tensor.source.ggml_type)?, format(tensor.to)?);
        let num_columns = tensor.source.shape[0];
        let (from_bytes, to_bytes) = (from.row_bytes(num_columns), to.row_bytes(num_columns));
        Ok(Self { tensor, from, to, isa: Isa::detect(), num_columns, from_bytes, to_bytes, importance })
    }

    /// Converts rows on all threads.
    fn run(&self, first_row: usize, rows: &[u8], num_threads: usize) -> Result<(Vec<u8>, Loss), QuantizeError> {
        let num_rows = rows.len() / self.from_bytes;
        let task_rows = (TASK_WEIGHTS / self.num_columns).max(1);
        let mut out = vec![0; num_rows * self.to_bytes];
        let mut losses = vec![Loss::default(); num_rows.div_ceil(task_rows)];
        let parts = rows.chunks(task_rows * self.from_bytes).zip(out.chunks_mut(task_rows * self.to_bytes));
        let tasks = parts.zip(&mut losses).enumerate().map(|(i, ((rows, out), loss))| Task {
            first_row: first_row + i * task_rows,
            rows,
            out,
            loss,
        });
        let (tasks, failure) = (Mutex::new(tasks), Mutex::new(None));
        let work = || {
            let mut floats = [vec![0.0; self.num_columns], vec![0.0; self.num_columns]];
            loop {
                let next = tasks.lock().ok().and_then(|mut tasks| tasks.next());
                let Some(task) = next else { return };
                if let Err(error) = self.convert(task, &mut floats)
                    && let Ok(mut failure) = failure.lock()
                {
                    failure.get_or_insert(error);
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..num_threads {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = failure.into_inner().ok().flatten() {
            return Err(error);
        }
        let mut total = Loss::default();
        losses.iter().for_each(|loss| total.add(loss));
        Ok((out, total))
    }

    fn convert(&self, task: Task<'_>, [x, decoded]: &mut [Vec<f32>; 2]) -> Result<(), QuantizeError> {
        let Task { first_row, rows, out, loss } = task;
        for (i, (row, out)) in rows.chunks(self.from_bytes).zip(out.chunks_mut(self.to_bytes)).enumerate() {
            let row_idx = first_row + i;
            self.from.decode_row(self.isa, row, x);
            self.check_finite(row_idx, x)?;
            self.to.encode_row(self.isa, x, self.importance_of(row_idx), out);
            self.to.decode_row(self.isa, out, decoded);
            let squares = |difference: fn(f32, f32) -> f32| -> f64 {
                x.iter().zip(decoded.iter()).map(|(x, y)| f64::from(difference(*x, *y)).powi(2)).sum()
            };
            let error = squares(|x, y| x - y);
            if !error.is_finite() {
                let largest = x.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
                let (tensor, to) = (self.tensor.source.name.clone(), self.tensor.to);
                return Err(QuantizeError::TooLarge { tensor, row: row_idx, largest, to });
            }
            loss.add(&Loss {
                squared_error: error,
                squared_weights: squares(|x, _| x),
                num_weights: self.num_columns as u64,
            });
        }
        Ok(())
    }

    /// The importance of a row's columns: that of its expert.
    fn importance_of(&self, row: usize) -> Option<&[f32]> {
        let importance = self.importance?;
        let rows_per_expert = self.tensor.source.shape[1];
        let expert = if importance.len() == self.num_columns { 0 } else { row / rows_per_expert };
        importance.get(expert * self.num_columns..(expert + 1) * self.num_columns)
    }

    fn check_finite(&self, row: usize, x: &[f32]) -> Result<(), QuantizeError> {
        match x.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some((column, &value)) => {
                let tensor = self.tensor.source.name.clone();
                Err(QuantizeError::NotFinite { tensor, row, column, value })
            }
        }
    }
}
