//! The mixes: which type a tensor gets in a file of a type. The rules are those that llama.cpp publishes, so that a
//! `Q4_K_M` of ours has the types that people expect of the name.

use gguf::GgmlType::{self, *};

use crate::{FileType, tensor_role::Role};

/// What the rules ask of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelShape {
    pub(crate) num_layers: usize,
    /// Query heads that share one head of keys and values.
    pub(crate) heads_per_kv: usize,
    pub(crate) num_experts: usize,
    /// Matrices of attention values.
    pub(crate) num_values: usize,
    /// The output matrix is the embedding table.
    pub(crate) is_tied: bool,
    pub(crate) has_imatrix: bool,
}

/// What the rules ask of a tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorShape {
    pub(crate) role: Role,
    /// Which one it is of all with its role, by layer.
    pub(crate) index: usize,
    pub(crate) num_columns: usize,
    /// Whether it holds the matrices of several experts.
    pub(crate) has_experts: bool,
}

/// What decides between two types.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// Four or more query heads share keys and values.
    SharedKv,
    /// The first and the last eighth of layers, and every third between them.
    MoreBits,
    /// One of the first `num_layers / n`.
    FirstPart(usize),
    /// One of the first `n`.
    First(usize),
    /// Neither the first nor the last eighth.
    Middle,
}

/// `Rule(when, then, otherwise)`; without `otherwise` it is the base type.
struct Rule(When, GgmlType, Option<GgmlType>);

const fn always(ggml_type: GgmlType) -> Option<Rule> {
    Some(Rule(When::Always, ggml_type, None))
}

const fn when(when: When, ggml_type: GgmlType) -> Option<Rule> {
    Some(Rule(when, ggml_type, None))
}

const fn either(when: When, ggml_type: GgmlType, otherwise: GgmlType) -> Option<Rule> {
    Some(Rule(when, ggml_type, Some(otherwise)))
}

/// The type of a tensor in a file of a type, by its mix.
pub(crate) fn mixed_type(file_type: FileType, model: &ModelShape, tensor: &TensorShape) -> GgmlType {
    let base = file_type.base();
    let is_output = tensor.role == Role::Output || model.is_tied && tensor.role == Role::TokenEmbedding;
    if is_output {
        return output_type(file_type, tensor.num_columns);
    }
    if file_type == FileType::MXFP4_MOE {
        return if tensor.has_experts { MXFP4 } else { Q8_0 };
    }
    if let Some(found) = with_experts(file_type, model, tensor.role) {
        return found;
    }
    let chosen = match rule(file_type, model, tensor.role) {
        Some(Rule(when, then, _)) if applies(when, model, tensor) => then,
        Some(Rule(_, _, Some(otherwise))) => otherwise,
        _ => base,
    };
    // Of the large models whose eight heads share values, these matrices are small and worth more bits.
    let is_large = model.num_layers == 80 && model.heads_per_kv > 1;
    match (tensor.role, chosen) {
        (Role::AttentionValue, Q3_K | Q4_K) if is_large && !is_tiny(file_type) => Q5_K,
        _ => chosen,
    }
}

/// Mixes of two bits and less.
fn is_tiny(file_type: FileType) -> bool {
    use FileType::{IQ1_M, IQ1_S, IQ2_M, IQ2_S, IQ2_XS, IQ2_XXS};
    matches!(file_type, IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ2_M)
}

fn output_type(file_type: FileType, num_columns: usize) -> GgmlType {
    let base = file_type.base();
    if file_type == FileType::MXFP4_MOE || base == Q8_0 || !num_columns.is_multiple_of(base.block_len()) {
        Q8_0
    } else if is_tiny(file_type) || file_type == FileType::IQ3_XXS {
        Q5_K
    } else {
        Q6_K
    }
}

/// Models of few experts, whose attention is a small part of them.
fn with_experts(file_type: FileType, model: &ModelShape, role: Role) -> Option<GgmlType> {
    use FileType as F;
    let tiny = is_tiny(file_type);
    match role {
        Role::AttentionValue if tiny && model.num_experts >= 4 => Some(Q4_K),
        _ if model.num_experts != 8 => None,
        Role::AttentionValue => Some(Q8_0),
        Role::AttentionKey if tiny => Some(Q4_K),
        Role::AttentionKey => Some(Q8_0),
        Role::AttentionOutput if tiny => Some(Q5_K),
        Role::AttentionOutput => match file_type {
            F::Q2_K
            | F::IQ3_XS
            | F::IQ3_XXS
            | F::Q3_K_S
            | F::Q3_K_M
            | F::IQ4_NL
            | F::Q4_K_S
            | F::Q4_K_M
            | F::IQ3_S
            | F::IQ3_M
            | F::IQ4_XS => Some(Q5_K),
            _ => Some(file_type.base()),
        },
        _ => None,
    }
}

fn rule(file_type: FileType, model: &ModelShape, role: Role) -> Option<Rule> {
    match role {
        Role::TokenEmbedding => embedding_rule(file_type),
        Role::AttentionValue => value_rule(file_type, model),
        Role::AttentionKey | Role::AttentionQuery => match file_type {
            FileType::IQ3_XS => always(IQ3_XXS),
            FileType::IQ3_XXS => always(IQ2_S),
            _ => None,
        },
        Role::AttentionOutput => attention_output_rule(file_type),
        Role::FfnDown => down_rule(file_type, model),
        Role::FfnGate | Role::FfnUp if file_type == FileType::IQ3_XS => when(When::Middle, IQ3_XXS),
        Role::FfnGate | Role::FfnUp | Role::Output | Role::Other => None,
    }
}

fn embedding_rule(file_type: FileType) -> Option<Rule> {
    use FileType as F;
    match file_type {
        F::IQ1_S | F::IQ1_M | F::IQ2_XXS | F::IQ2_XS => always(Q2_K),
        F::IQ2_S | F::IQ2_M | F::IQ3_XXS => always(IQ3_S),
        F::TQ1_0 | F::TQ2_0 | F::Q2_0 => always(Q4_K),
        _ => None,
    }
}

fn value_rule(file_type: FileType, model: &ModelShape) -> Option<Rule> {
    use FileType as F;
    match file_type {
        F::IQ1_S | F::IQ1_M | F::IQ2_XXS | F::IQ2_XS => either(When::SharedKv, Q4_K, Q2_K),
        F::IQ2_S | F::IQ2_M => either(When::SharedKv, Q4_K, IQ3_S),
        F::Q2_K => either(When::SharedKv, Q4_K, Q3_K),
        F::Q2_K_S | F::IQ3_XS | F::IQ3_S => when(When::SharedKv, Q4_K),
        F::IQ3_XXS => either(When::SharedKv, Q4_K, if model.has_imatrix { IQ3_XXS } else { IQ3_S }),
        F::IQ3_M => always(Q4_K),
        F::Q3_K_M => either(When::First(2), Q5_K, Q4_K),
        F::Q3_K_L => always(Q5_K),
        F::IQ4_NL | F::IQ4_XS => when(When::SharedKv, Q5_K),
        F::Q4_K_M | F::Q5_K_M => when(When::MoreBits, Q6_K),
        F::Q4_K_S => when(When::First(4), Q5_K),
        _ => None,
    }
}

fn attention_output_rule(file_type: FileType) -> Option<Rule> {
    use FileType as F;
    match file_type {
        F::IQ1_S | F::IQ1_M => always(IQ2_XXS),
        F::IQ2_S | F::IQ2_M | F::IQ3_XXS => always(IQ3_S),
        F::Q2_K => always(Q3_K),
        F::Q3_K_M | F::IQ3_M => always(Q4_K),
        F::Q3_K_L => always(Q5_K),
        _ => None,
    }
}

fn down_rule(file_type: FileType, model: &ModelShape) -> Option<Rule> {
    use FileType as F;
    match file_type {
        F::IQ1_S | F::IQ1_M | F::IQ2_XXS | F::IQ2_XS => when(When::FirstPart(8), Q2_K),
        F::IQ2_S | F::IQ2_M => when(When::FirstPart(8), IQ3_S),
        F::Q2_K => always(Q3_K),
        F::Q2_K_S => when(When::FirstPart(8), Q4_K),
        F::IQ3_XXS if !model.has_imatrix => either(When::FirstPart(8), Q4_K, Q3_K),
        F::Q3_K_M => either(When::FirstPart(16), Q5_K, Q4_K),
        F::IQ3_M if model.num_experts == 8 => when(When::MoreBits, Q4_K),
        F::IQ3_M => when(When::FirstPart(8), Q4_K),
        F::Q3_K_L => always(Q5_K),
        F::Q4_K_M | F::Q5_K_M => when(When::MoreBits, Q6_K),
        F::IQ4_NL | F::IQ4_XS if !model.has_imatrix => when(When::FirstPart(8), Q5_K),
        F::Q4_K_S => when(When::FirstPart(8), Q5_K),
        F::Q4_0 if model.has_imatrix => when(When::FirstPart(8), Q4_1),
        F::Q5_0 if model.has_imatrix => when(When::FirstPart(8), Q5_1),
        _ => None,
    }
}

fn applies(when: When, model: &ModelShape, tensor: &TensorShape) -> bool {
    let idx = tensor.index;
    let len = if tensor.role == Role::AttentionValue { model.num_values } else { model.num_layers };
    let (first, last) = (len / 8, 7 * len / 8);
    match when {
        When::Always => true,
        When::SharedKv => model.heads_per_kv >= 4,
        When::MoreBits => idx < first || idx >= last || (idx - first) % 3 == 2,
        When::FirstPart(n) => idx < len / n,
        When::First(n) => idx < n,
        When::Middle => idx >= first && idx < last,
    }
}

/// What a tensor becomes whose rows cannot be cut into blocks of a type.
pub(crate) fn fallback(ggml_type: GgmlType, num_columns: usize) -> GgmlType {
    let fits = |t: GgmlType| num_columns.is_multiple_of(t.block_len());
    if fits(ggml_type) {
        return ggml_type;
    }
    let smaller = match ggml_type {
        IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_XS => IQ4_NL,
        Q1_0 | Q2_0 | Q2_K | Q3_K | TQ1_0 | TQ2_0 => Q4_0,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        Q6_K => Q8_0,
        _ => F16,
    };
    if fits(smaller) { smaller } else { F16 }
}

#[cfg(test)]
mod tests {
    use gguf::GgmlType;

    use super::{ModelShape, TensorShape, fallback, mixed_type};
    use crate::{FileType, tensor_role::Role};

    #[test]
    fn large_models_have_more_bits_for_their_shared_values() {
        let model = |num_layers| ModelShape {
            num_layers,
            heads_per_kv: 8,
            num_experts: 0,
            num_values: num_layers,
            is_tied: false,
            has_imatrix: false,
        };
        let tensor = TensorShape { role: Role::AttentionValue, index: 20, num_columns: 8192, has_experts: false };
        for (file_type, large, small) in [
            (FileType::Q3_K_S, GgmlType::Q5_K, GgmlType::Q3_K),
            (FileType::Q4_K_M, GgmlType::Q5_K, GgmlType::Q4_K),
            (FileType::Q6_K, GgmlType::Q6_K, GgmlType::Q6_K),
            (FileType::IQ2_XS, GgmlType::Q4_K, GgmlType::Q4_K),
        ] {
            assert_eq!(mixed_type(file_type, &model(80), &tensor), large, "{file_type}");
            assert_eq!(mixed_type(file_type, &model(81), &tensor), small, "{file_type}");
        }
    }

    #[test]
    fn rows_that_blocks_do_not_divide_get_smaller_blocks_or_none() {
        assert_eq!(fallback(GgmlType::Q4_K, 512), GgmlType::Q4_K);
        assert_eq!(fallback(GgmlType::Q4_K, 288), GgmlType::Q5_0);
        assert_eq!(fallback(GgmlType::IQ2_XS, 288), GgmlType::IQ4_NL);
        assert_eq!(fallback(GgmlType::Q4_K, 40), GgmlType::F16);
        assert_eq!(fallback(GgmlType::Q4_0, 40), GgmlType::F16);
    }
}
