//! GPTQ's and AWQ's integers: `NAME.qweight`, inputs first, with a scale and a zero point for each output of a group of
//! inputs (`NAME.scales`, `NAME.qzeros`). GPTQ packs inputs and may sort them into groups by `NAME.g_idx`; AWQ packs
//! outputs, eight in a word in an order of its own.

use super::{FLOATS, Stored, check_part, names_before, take_part, words};
use crate::{
    ConvertError,
    safetensors::{Dtype, StoredTensor},
    tensor::{Rows, Tensor},
};

/// How codes lie in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Neighbouring inputs in a word; of zero points neighbouring outputs.
    Gptq { bits: u32, zeros: Zeros },
    /// Eight outputs in a word, four bits each.
    Awq,
}

/// How GPTQ stores zero points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zeros {
    /// Less one, the first format.
    LessOne,
    AsTheyAre,
}

/// Where AWQ's outputs are in a word, in units of four bits.
const AWQ_PLACES: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

impl Layout {
    fn bits(self) -> u32 {
        match self {
            Self::Gptq { bits, .. } => bits,
            Self::Awq => 4,
        }
    }

    fn per_word(self) -> usize {
        32 / self.bits() as usize
    }

    /// The code in a word that holds `per_word` outputs.
    fn of_output(self, word: u32, output: usize) -> u32 {
        let place = match self {
            Self::Gptq { .. } => (output % self.per_word()) as u32,
            Self::Awq => AWQ_PLACES[output % 8],
        };
        word >> (place * self.bits()) & self.largest()
    }

    fn largest(self) -> u32 {
        (1 << self.bits()) - 1
    }
}

/// Takes quantized weights with their parts.
pub(super) fn take(stored: &mut Stored, layout: Layout) -> Result<Vec<Tensor>, ConvertError> {
    names_before(stored, ".qweight").iter().map(|name| Grouped::open(stored, name, layout)).collect()
}

struct Grouped {
    codes: StoredTensor,
    zeros: StoredTensor,
    scales: StoredTensor,
    /// The group of each input.
    groups: Vec<usize>,
    layout: Layout,
    num_outputs: usize,
}

impl Grouped {
    fn open(stored: &mut Stored, name: &str, layout: Layout) -> Result<Tensor, ConvertError> {
        let codes = take_part(stored, name, ".qweight")?;
        let zeros = take_part(stored, name, ".qzeros")?;
        let scales = take_part(stored, name, ".scales")?;
        let order = stored.remove(&format!("{name}.g_idx"));
        let (&[num_groups, num_outputs], &[code_rows, _]) = (scales.shape.as_slice(), codes.shape.as_slice()) else {
            let what = format!("has scales of shape {:?} for codes of shape {:?}", scales.shape, codes.shape);
            return Err(ConvertError::tensor(name, what));
        };
        if codes.is_empty() || scales.is_empty() {
            return Err(ConvertError::tensor(name, "has no weights"));
        }
        let num_words = num_outputs.div_ceil(layout.per_word());
        let (num_inputs, code_cols) = match layout {
            Layout::Gptq { .. } => (code_rows * layout.per_word(), num_outputs),
            Layout::Awq => (code_rows, num_words),
        };
        check_part(&codes, &[Dtype::I32], &[code_rows, code_cols])?;
        check_part(&zeros, &[Dtype::I32], &[num_groups, num_words])?;
        check_part(&scales, FLOATS, &[num_groups, num_outputs])?;
        let groups = groups(name, order.as_ref(), num_inputs, num_groups)?;
        let grouped = Self { codes, zeros, scales, groups, layout, num_outputs };
        Tensor::new(&format!("{name}.weight"), vec![num_inputs, num_outputs], grouped).transposed()
    }

    /// Scales of a group's outputs, and what is taken from their codes.
    fn group(&self, group: usize) -> Result<(Vec<f32>, Vec<i32>), ConvertError> {
        let mut scales = vec![0.0; self.num_outputs];
        self.scales.read_floats(group * self.num_outputs, &mut scales)?;
        let words_of_row = self.zeros.shape[1];
        let words = words(&self.zeros, group * words_of_row, words_of_row)?;
        let add = i32::from(matches!(self.layout, Layout::Gptq { zeros: Zeros::LessOne, .. }));
        let zero = |output| self.layout.of_output(words[output / self.layout.per_word()], output) as i32 + add;
        Ok((scales, (0..self.num_outputs).map(zero).collect()))
    }

    /// The codes of an input.
    fn codes(&self, input: usize) -> Result<Vec<i32>, ConvertError> {
        let (layout, words_of_row) = (self.layout, self.codes.shape[1]);
        match layout {
            Layout::Gptq { bits, .. } => {
                let (row, shift) = (input / layout.per_word(), (input % layout.per_word()) as u32 * bits);
                let words = words(&self.codes, row * words_of_row, words_of_row)?;
                Ok(words.into_iter().map(|word| (word >> shift & layout.largest()) as i32).collect())
            }
            Layout::Awq => {
                let words = words(&self.codes, input * words_of_row, words_of_row)?;
                Ok((0..self.num_outputs).map(|output| layout.of_output(words[output / 8], output) as i32).collect())
            }
        }
    }
}

/// The group of each input: by `g_idx`, or neighbours.
fn groups(
    name: &str,
    order: Option<&StoredTensor>,
    num_inputs: usize,
    num_groups: usize,
) -> Result<Vec<usize>, ConvertError> {
    let Some(order) = order else {
        if num_groups == 0 || !num_inputs.is_multiple_of(num_groups) {
            return Err(ConvertError::tensor(name, format!("has {num_groups} groups of {num_inputs} inputs")));
        }
        return Ok((0..num_inputs).map(|input| input / (num_inputs / num_groups)).collect());
    };
    check_part(order, &[Dtype::I32], &[num_inputs])?;
    let groups: Vec<usize> = words(order, 0, num_inputs)?.into_iter().map(|group| group as usize).collect();
    match groups.iter().find(|group| **group >= num_groups) {
        Some(group) => Err(ConvertError::tensor(&order.name, format!("names group {group} of {num_groups}"))),
        None => Ok(groups),
    }
}

impl Rows for Grouped {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let mut last: Option<(usize, Vec<f32>, Vec<i32>)> = None;
        for (input, out) in (first_row..).zip(out.chunks_exact_mut(self.num_outputs.max(1))) {
            let idx = self.groups[input];
            let (_, scales, zeros) = match &last {
                Some(last @ (group, ..)) if *group == idx => last,
                _ => {
                    let (scales, zeros) = self.group(idx)?;
                    last.insert((idx, scales, zeros))
                }
            };
            for (((x, code), zero), scale) in out.iter_mut().zip(self.codes(input)?).zip(zeros).zip(scales) {
                *x = (code - zero) as f32 * scale;
            }
        }
        Ok(())
    }
}
