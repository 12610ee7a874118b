//! A specification in words.

use std::collections::BTreeSet;

use model::{
    Activation, Attention, DecoderSpec, Ffn, Mask, Moe, Norm, QkNorm, Residual, RopeScaling, RopeStyle, Scoring, Values,
};

/// What kind of norms, and where they stand.
pub(super) fn norms(spec: &DecoderSpec) -> String {
    let kind = match spec.norm {
        Norm::Rms => "RMS",
        Norm::Layer => "layer",
        Norm::LayerWithBias => "layer with bias",
    };
    let place = |residual| match residual {
        Residual::PreNorm => "before blocks",
        Residual::PreFfnNorm => "before the feed-forward block",
        Residual::SandwichNorm => "before and behind blocks",
        Residual::PostNorm => "behind blocks",
        Residual::NormedSum => "of sums",
        Residual::Parallel => "parallel blocks, one norm",
        Residual::ParallelNorms => "parallel blocks, two norms",
    };
    format!("{kind}; {}", each(spec.layers.iter().map(|layer| place(layer.residual).to_owned())))
}

/// How positions come in.
pub(super) fn positions(spec: &DecoderSpec) -> String {
    if spec.learned_positions.is_some() {
        return "learned".to_owned();
    }
    each(spec.layers.iter().map(|layer| rotation(&layer.attention)))
}

fn rotation(attention: &Attention) -> String {
    let rope = &attention.rope;
    if rope.dim == 0 {
        return "none".to_owned();
    }
    let pairs = match rope.style {
        RopeStyle::Norm => "neighbours",
        RopeStyle::Neox => "halves",
    };
    let whole = attention.latent.is_some() || rope.dim == attention.head_dim;
    let scaling = match rope.scaling {
        RopeScaling::None => "",
        RopeScaling::Linear { .. } => ", linear",
        RopeScaling::Yarn(_) => ", YaRN",
        RopeScaling::Long { .. } => ", longrope",
    };
    format!("{pairs}{}{scaling}", if whole { "" } else { ", part of a head" })
}

/// What attention has beyond grouped heads that see all earlier tokens.
pub(super) fn attention(spec: &DecoderSpec) -> String {
    let all = spec.layers.iter().flat_map(|layer| {
        let a = &layer.attention;
        let mask = match a.mask {
            Mask::Full => None,
            Mask::Bidirectional => Some("sees all tokens"),
            Mask::Symmetric { .. } => Some("window on both sides"),
            Mask::Sliding { .. } => Some("window"),
            Mask::Chunked { .. } => Some("chunks"),
        };
        let qk_norm = match a.qk_norm {
            QkNorm::None => None,
            QkNorm::PerHead => Some("norms of heads"),
            QkNorm::PerHeadOwn => Some("own norms of heads"),
            QkNorm::AllHeads => Some("norms of all heads"),
            QkNorm::UnitAfterRope => Some("unit norms of heads"),
        };
        let rest = [
            (a.latent.is_some(), "latent"),
            (a.softcap.is_some(), "softcap"),
            (a.temperature.is_some(), "temperature"),
            (a.values == Values::UnitNorm, "normed values"),
            (a.kv_source.is_some(), "keys of earlier layers"),
            (a.sinks, "sinks"),
        ];
        [mask, qk_norm].into_iter().flatten().chain(rest.into_iter().filter_map(|(has, name)| has.then_some(name)))
    });
    each(all.map(str::to_owned))
}

/// The feed-forward blocks, and what else a layer or the logits have.
pub(super) fn feed_forward(spec: &DecoderSpec) -> String {
    let block = |ffn: &Ffn| match ffn {
        Ffn::Gated { activation, .. } => format!("gated {}", name(*activation)),
        Ffn::Plain { activation, .. } => format!("plain {}", name(*activation)),
        Ffn::Moe(moe) => experts(moe),
        Ffn::GatedAndMoe { moe, .. } => format!("gated block beside {}", experts(moe)),
    };
    let rest = [
        (spec.per_layer_inputs.is_some(), "inputs of each layer"),
        (spec.residual_scale != 1.0, "scaled residuals"),
        (spec.logit_softcap.is_some(), "softcap of logits"),
    ];
    let rest = rest.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned());
    each(spec.layers.iter().map(|layer| block(&layer.ffn)).chain(rest))
}

fn experts(moe: &Moe) -> String {
    let scoring = match moe.scoring {
        Scoring::Softmax => "",
        Scoring::Sigmoid => ", sigmoid scores",
    };
    let groups = if moe.groups.is_some() { ", groups" } else { "" };
    let shared = if moe.shared.is_some() { ", a shared one" } else { "" };
    format!("experts {}{scoring}{groups}{shared}", name(moe.activation))
}

fn name(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => "SiLU",
        Activation::Gelu => "GELU",
        Activation::GeluTanh => "GELU (tanh)",
        Activation::ClampedSwiglu => "clamped SwiGLU",
    }
}

/// Each text once, in the order of the alphabet.
pub(super) fn each(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("; ")
}
