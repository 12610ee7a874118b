//! What was found, as a table with commands or as JSON.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use cuda::KvType;
use serde_json::{Value as Json, json};

use super::{
    place::Place,
    plan::{Candidate, Sizes, Wanted},
};
use crate::numbers::{bytes, parameters, thousands};

/// What losses are.
const LOSS_SOURCE: &str = "rise of the perplexity of Llama 3 8B on WikiText-2 (llama.cpp's scoreboard)";

/// Everything there is to tell.
pub(crate) struct Report<'a> {
    pub(crate) place: &'a Place,
    pub(crate) arch: &'static str,
    pub(crate) num_weights: u64,
    /// Whether the file's own weights are quantized.
    pub(crate) is_quantized: bool,
    pub(crate) wanted: &'a Wanted,
    pub(crate) candidates: &'a [Candidate],
    pub(crate) chosen: Option<&'a Candidate>,
}

impl Report<'_> {
    pub(crate) fn text(&self) -> String {
        let Wanted { gpu, margin_bytes, users, context, .. } = self.wanted;
        let head = format!(
            "{}: {}, {} parameters; {} with {} free, {} of which stay free; {users} users with {} tokens each",
            self.place.name(),
            self.arch,
            parameters(self.num_weights),
            gpu.name,
            bytes(gpu.free_bytes),
            bytes(*margin_bytes),
            thousands(*context as u64),
        );
        format!("{head}\n\n{}\n{}\n{}", self.table(), self.notes(), self.advice())
    }

    fn table(&self) -> Table {
        let Wanted { users, context, .. } = self.wanted;
        let header = [
            "weights".to_owned(),
            "KV".to_owned(),
            "file".to_owned(),
            "on the GPU".to_owned(),
            "for KV".to_owned(),
            "KV takes".to_owned(),
            format!("users at {}", thousands(*context as u64)),
            format!("context for {users}"),
            "tok/s, 1".to_owned(),
            format!("tok/s, {users}"),
            "prompt tok/s".to_owned(),
            "loss".to_owned(),
            String::new(),
        ];
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(header);
        for candidate in self.candidates {
            table.add_row(self.row(candidate));
        }
        for i in 2..12 {
            if let Some(column) = table.column_mut(i) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn row(&self, candidate: &Candidate) -> Vec<String> {
        let loss = candidate.loss.map_or_else(|| "?".to_owned(), |loss| format!("{:.1} %", 100.0 * loss));
        let mut row = vec![candidate.name.clone(), candidate.kv_type.name().to_owned()];
        match &candidate.sizes {
            Ok(sizes) => {
                let Sizes { weights, kv_bytes, kv_bytes_needed, max_users, max_context, speed, .. } = *sizes;
                let whole = |x: f64| thousands(x.round() as u64);
                row.extend([bytes(weights.file_bytes), bytes(weights.device_bytes)]);
                row.extend([bytes(kv_bytes), bytes(kv_bytes_needed)]);
                row.extend([thousands(max_users as u64), thousands(max_context as u64)]);
                row.extend([whole(speed.decode_one), whole(speed.decode_all), whole(speed.prompt), loss]);
            }
            Err(_) => row.extend(["", "", "", "", "", "", "", "", "", &loss].map(str::to_owned)),
        }
        row.push(self.verdict(candidate).to_owned());
        row
    }

    fn verdict(&self, candidate: &Candidate) -> &'static str {
        let is_chosen = self.chosen.is_some_and(|chosen| std::ptr::eq(chosen, candidate));
        match &candidate.sizes {
            _ if is_chosen => "take this",
            Ok(_) if self.wanted.fit_context || candidate.fits(self.wanted) => "fits",
            Ok(_) => "too large",
            Err(_) => "not on the GPU",
        }
    }

    fn notes(&self) -> String {
        let mut notes = vec![
            "Speeds are predicted from bytes and operations, not measured. The loss is the".to_owned(),
            format!("{LOSS_SOURCE}; small models lose more, large ones less."),
        ];
        let mut refused: Vec<(&str, &str)> = Vec::new();
        for candidate in self.candidates {
            if let Err(reason) = &candidate.sizes
                && refused.last() != Some(&(candidate.name.as_str(), reason.as_str()))
            {
                refused.push((&candidate.name, reason));
            }
        }
        notes.extend(refused.iter().map(|(name, reason)| format!("{name}: {reason}.")));
        notes.join("\n") + "\n"
    }

    fn advice(&self) -> String {
        let Some(chosen) = self.chosen else { return self.nothing_fits() + "\n" };
        let commands = self.commands(chosen).join("\n  ");
        let kv = if chosen.kv_type == KvType::Q8_0 { " with keys and values in q8_0" } else { "" };
        format!("Take {}{kv}:\n  {commands}\n", chosen.name)
    }

    /// What to do instead: the most that any candidate holds.
    fn nothing_fits(&self) -> String {
        let sizes = || self.candidates.iter().filter_map(|candidate| Some((candidate, candidate.sizes.as_ref().ok()?)));
        let most = sizes().max_by_key(|(_, sizes)| (sizes.max_users, sizes.max_context));
        match most.filter(|(_, sizes)| sizes.max_context > 0) {
            Some((candidate, sizes)) => format!(
                "Nothing fits. {} with {} keys and values holds {} users with {} tokens each, or {} with {}.",
                candidate.name,
                candidate.kv_type.name(),
                sizes.max_users,
                thousands(self.wanted.context as u64),
                self.wanted.users,
                thousands(sizes.max_context as u64),
            ),
            None => {
                "Nothing fits: the smallest weights are larger than the memory. Take a smaller model or a larger GPU."
                    .to_owned()
            }
        }
    }

    /// The context that the command asks for.
    fn context(&self, chosen: &Candidate) -> usize {
        if self.wanted.fit_context { chosen.max_context() } else { self.wanted.context }
    }

    fn commands(&self, chosen: &Candidate) -> Vec<String> {
        let (mut commands, model) = match chosen.mix {
            Some(mix) => self.place.serve_mix(mix.name(), self.is_quantized),
            None => (Vec::new(), self.place.serve_as_it_is()),
        };
        let users = self.wanted.users;
        let kv = if chosen.kv_type == KvType::Q8_0 { " -ctk q8_0 -ctv q8_0" } else { "" };
        commands.push(format!("llcuda serve {model} -c {} -np {users}{kv}", users * self.context(chosen)));
        commands
    }

    pub(crate) fn json(&self) -> Json {
        let Wanted { gpu, margin_bytes, users, context, strategy, .. } = self.wanted;
        let candidates: Vec<Json> = self.candidates.iter().map(|c| self.candidate_json(c)).collect();
        json!({
            "model": self.place.name(),
            "arch": self.arch,
            "parameters": self.num_weights,
            "gpu": gpu.name,
            "free_bytes": gpu.free_bytes,
            "margin_bytes": margin_bytes,
            "users": users,
            "context": context,
            "strategy": format!("{strategy:?}").to_lowercase(),
            "speeds": "predicted",
            "loss_source": LOSS_SOURCE,
            "candidates": candidates,
            "recommended": self.chosen.map(|chosen| json!({
                "weights": chosen.name,
                "kv": chosen.kv_type.name(),
                "context": self.context(chosen),
                "commands": self.commands(chosen),
            })),
            "advice": self.chosen.is_none().then(|| self.nothing_fits()),
        })
    }

    fn candidate_json(&self, candidate: &Candidate) -> Json {
        let mut object = json!({
            "weights": candidate.name,
            "kv": candidate.kv_type.name(),
            "as_it_is": candidate.mix.is_none(),
            "loss": candidate.loss,
            "fits": candidate.fits(self.wanted),
            "refused": candidate.sizes.as_ref().err(),
        });
        if let Ok(sizes) = &candidate.sizes {
            object["file_bytes"] = json!(sizes.weights.file_bytes);
            object["weight_bytes"] = json!(sizes.weights.device_bytes);
            object["workspace_bytes"] = json!(sizes.workspace_bytes);
            object["kv_bytes"] = json!(sizes.kv_bytes);
            object["kv_bytes_needed"] = json!(sizes.kv_bytes_needed);
            object["kv_bytes_per_token"] = json!(sizes.kv_bytes_per_token);
            object["max_users"] = json!(sizes.max_users);
            object["max_context"] = json!(sizes.max_context);
            object["decode_tokens_per_second"] =
                json!({ "one_user": sizes.speed.decode_one, "all_users": sizes.speed.decode_all });
            object["prompt_tokens_per_second"] = json!(sizes.speed.prompt);
        }
        object
    }
}
