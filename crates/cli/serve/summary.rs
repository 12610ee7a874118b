//! What a server that has just started says about itself.

use std::{io::IsTerminal, net::SocketAddr};

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use server::ModelInfo;
use types::BLOCK_SIZE;

use crate::{
    logging::LogFormat,
    numbers::{bytes, parameters, thousands},
};

/// What was loaded, and what it can hold.
pub(super) struct Summary {
    pub(super) model: ModelInfo,
    pub(super) arch: &'static str,
    pub(super) device: String,
    pub(super) kv_bytes: u64,
    pub(super) num_blocks: usize,
    pub(super) max_num_seqs: usize,
    pub(super) max_model_len: usize,
    /// What clients can have: texts, embeddings.
    pub(super) serves: String,
}

impl Summary {
    /// A table for people, or one log event for programs.
    pub(super) fn tell(&self, address: SocketAddr, format: LogFormat) {
        let url = format!("http://{address}");
        let table = format == LogFormat::Text || (format == LogFormat::Auto && std::io::stderr().is_terminal());
        if table {
            eprintln!("{}", self.table(&url));
            return;
        }
        tracing::info!(
            url,
            model = self.model.id,
            arch = self.arch,
            parameters = self.model.num_params,
            device = self.device,
            weight_bytes = self.model.weight_bytes,
            kv_bytes = self.kv_bytes,
            context = self.max_model_len,
            users_with_full_context = self.full_users(),
            max_users = self.max_num_seqs,
            serves = self.serves,
            "ready"
        );
    }

    /// Requests with a full context that fit at once.
    fn full_users(&self) -> usize {
        (self.num_blocks / self.max_model_len.div_ceil(BLOCK_SIZE)).clamp(1, self.max_num_seqs)
    }

    fn table(&self, url: &str) -> Table {
        let ModelInfo { id, ftype, num_params, weight_bytes, .. } = &self.model;
        let bits = 8.0 * *weight_bytes as f64 / (*num_params).max(1) as f64;
        let tokens = |n: usize| thousands(n as u64);
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.add_rows([
            ["model".to_owned(), id.clone()],
            [
                "".to_owned(),
                format!("{}, {} parameters, {ftype}, {bits:.2} bits per weight", self.arch, parameters(*num_params)),
            ],
            ["device".to_owned(), self.device.clone()],
            [
                "memory".to_owned(),
                format!("weights {}, keys and values {}", bytes(*weight_bytes), bytes(self.kv_bytes)),
            ],
            [
                "context".to_owned(),
                format!(
                    "{} tokens per request, {} in all",
                    tokens(self.max_model_len),
                    tokens(self.num_blocks * BLOCK_SIZE)
                ),
            ],
            [
                "users".to_owned(),
                format!("{} at once, {} of them with a full context; more wait", self.max_num_seqs, self.full_users()),
            ],
            ["serves".to_owned(), self.serves.clone()],
            ["open".to_owned(), url.to_owned()],
        ]);
        table
    }
}

#[cfg(test)]
mod tests {
    use server::ModelInfo;

    use super::Summary;

    #[test]
    fn the_table_says_what_fits() {
        let summary = Summary {
            model: ModelInfo {
                id: "m".into(),
                num_params: 1000,
                weight_bytes: 1000,
                ftype: "Q8_0".into(),
                ..ModelInfo::default()
            },
            arch: "llama",
            device: "CPU".into(),
            kv_bytes: 1 << 20,
            num_blocks: 64,
            max_num_seqs: 16,
            max_model_len: 256,
            serves: "texts".into(),
        };
        assert_eq!(summary.full_users(), 4);
        let text = summary.table("http://127.0.0.1:8080").to_string();
        for word in [
            "8.00 bits",
            "1.0 MiB",
            "256 tokens per request, 1,024 in all",
            "16 at once, 4 of them",
            "http://127.0.0.1:8080",
        ] {
            assert!(text.contains(word), "`{word}` is not in\n{text}");
        }
    }
}
