//! The formats, in the order of their names in llama-server's help.

use super::{Answer, Format, System};

impl Format {
    /// All roles are written alike.
    const fn new(name: &'static str, all: &'static str, answer: &'static str) -> Self {
        Self {
            name,
            begin: "",
            no_system: "",
            between: "",
            exchange: None,
            system: System::Here(all),
            user: all,
            assistant: all,
            more: &[],
            other: all,
            answer: Answer::Asked(answer),
        }
    }

    /// A pattern for each of the three roles; messages of others are left out.
    const fn three(name: &'static str, [system, user, assistant]: [&'static str; 3], answer: &'static str) -> Self {
        Self { system: System::Here(system), user, assistant, other: "", ..Self::new(name, "", answer) }
    }

    /// The same, where whoever is neither the system nor the user writes as the assistant does.
    const fn two_sides(name: &'static str, patterns: [&'static str; 3], answer: &'static str) -> Self {
        Self { other: patterns[2], ..Self::three(name, patterns, answer) }
    }

    const fn begin(self, begin: &'static str) -> Self {
        Self { begin, ..self }
    }

    const fn between(self, between: &'static str) -> Self {
        Self { between, ..self }
    }

    const fn assistant(self, assistant: &'static str) -> Self {
        Self { assistant, ..self }
    }

    const fn behind_user(self, answer: &'static str) -> Self {
        Self { answer: Answer::BehindUser(answer), ..self }
    }

    const fn exchange(self, first: &'static str, later: &'static str) -> Self {
        Self { exchange: Some([first, later]), ..self }
    }

    const fn more(self, more: &'static [(&'static str, &'static str)]) -> Self {
        Self { more, ..self }
    }

    const fn other(self, other: &'static str) -> Self {
        Self { other, ..self }
    }

    const fn no_system(self, no_system: &'static str) -> Self {
        Self { no_system, ..self }
    }

    const fn system(self, system: System) -> Self {
        Self { system, ..self }
    }
}

/// All formats.
pub(crate) static FORMATS: &[Format] = &[
    Format::three("bailing", BAILING, "<role>ASSISTANT</role>").other(BAILING[2]),
    Format::three("bailing-think", BAILING, "<role>ASSISTANT</role><think>").other(BAILING[2]),
    Format::three(
        "bailing2",
        [
            "<role>SYSTEM</role>{content}<|role_end|>",
            "<role>HUMAN</role>{content}<|role_end|>",
            "<role>ASSISTANT</role>{content}<|role_end|>",
        ],
        "<role>ASSISTANT</role>",
    )
    .other("<role>{ROLE}</role>{content}<|role_end|>")
    .no_system("<role>SYSTEM</role>detailed thinking off<|role_end|>"),
    Format::new("chatglm3", "<|{role}|>\n {content}", "<|assistant|>").begin("[gMASK]sop"),
    Format::new("chatglm4", "<|{role}|>\n{content}", "<|assistant|>\n").begin("[gMASK]<sop>"),
    Format::new("chatml", "<|im_start|>{role}\n{content}<|im_end|>\n", "<|im_start|>assistant\n"),
    Format::three(
        "command-r",
        [
            "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{trimmed}<|END_OF_TURN_TOKEN|>",
            "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{trimmed}<|END_OF_TURN_TOKEN|>",
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{trimmed}<|END_OF_TURN_TOKEN|>",
        ],
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    ),
    Format::three(
        "deepseek",
        ["{content}", "### Instruction:\n{content}\n", "### Response:\n{content}\n<|EOT|>\n"],
        "### Response:\n",
    ),
    Format::three(
        "deepseek2",
        ["{content}\n\n", "User: {content}\n\n", "Assistant: {content}<｜end▁of▁sentence｜>"],
        "Assistant:",
    ),
    Format::three(
        "deepseek3",
        ["{content}\n\n", "<｜User｜>{content}", "<｜Assistant｜>{content}<｜end▁of▁sentence｜>"],
        "<｜Assistant｜>",
    ),
    Format::two_sides(
        "dots1",
        [
            "<|system|>{content}<|endofsystem|>",
            "<|userprompt|>{content}<|endofuserprompt|>",
            "<|response|>{content}<|endofresponse|>",
        ],
        "<|response|>",
    ),
    Format::three("exaone3", EXAONE, "[|assistant|]"),
    Format::three("exaone4", EXAONE, "[|assistant|]").more(&[("tool", "[|tool|]{trimmed}[|endofturn|]\n")]),
    Format::new("falcon3", "<|{role}|>\n{content}\n", "<|assistant|>\n"),
    Format::three(
        "gemma",
        ["", "<start_of_turn>user\n{system}{trimmed}<end_of_turn>\n", "<start_of_turn>model\n{trimmed}<end_of_turn>\n"],
        "<start_of_turn>model\n",
    )
    .system(System::IntoNext("{trimmed}"))
    .other("<start_of_turn>{role}\n{system}{trimmed}<end_of_turn>\n"),
    Format::three(
        "gigachat",
        [
            "",
            "user<|role_sep|>{content}<|message_sep|>available functions<|role_sep|>[]<|message_sep|>",
            "assistant<|role_sep|>{content}<|message_sep|>",
        ],
        "assistant<|role_sep|>",
    )
    .begin("<s>")
    .system(System::FirstOnly("{content}<|message_sep|>")),
    Format::new("glmedge", "<|{role}|>\n{content}", "<|assistant|>"),
    Format::new("gpt-oss", "<|start|>{role}<|message|>{content}<|end|>", "<|start|>assistant")
        .assistant("<|start|>assistant<|message|>{content}<|return|>"),
    Format::new(
        "granite",
        "<|start_of_role|>{role}<|end_of_role|>{content}<|end_of_text|>\n",
        "<|start_of_role|>assistant<|end_of_role|>",
    )
    .more(&[(
        "assistant_tool_call",
        "<|start_of_role|>assistant_tool_call<|end_of_role|><|tool_call|>{content}<|end_of_text|>\n",
    )]),
    Format::three(
        "grok-2",
        [
            "System: {trimmed}<|separator|>\n\n",
            "Human: {trimmed}<|separator|>\n\n",
            "Assistant: {content}<|separator|>\n\n",
        ],
        "Assistant:",
    ),
    Format::three(
        "hunyuan-dense",
        ["", "<｜hy_User｜>{content}<｜hy_Assistant｜>", "<｜hy_Assistant｜>{content}<｜hy_place▁holder▁no▁2｜>"],
        "",
    )
    .system(System::FirstOnly("{content}<｜hy_place▁holder▁no▁3｜>")),
    Format::three(
        "hunyuan-moe",
        ["<|startoftext|>{content}<|extra_4|>", "<|startoftext|>{content}<|extra_0|>", "{content}<|eos|>"],
        "",
    )
    .other("<|startoftext|>{content}<|extra_0|>"),
    Format::three(
        "kimi-k2",
        [
            "<|im_system|>system<|im_middle|>{content}<|im_end|>",
            "<|im_user|>user<|im_middle|>{content}<|im_end|>",
            "<|im_assistant|>assistant<|im_middle|>{content}<|im_end|>",
        ],
        "<|im_assistant|>assistant<|im_middle|>",
    )
    .more(&[("tool", "<|im_system|>tool<|im_middle|>{content}<|im_end|>")])
    .other("{content}<|im_end|>"),
    Format::two_sides("llama2", ["{content}\n", "{content} [/INST]", "{content}</s>"], "")
        .exchange("[INST] ", "[INST] "),
    Format::two_sides("llama2-sys", LLAMA2_SYS, "").exchange("[INST] ", "[INST] "),
    Format::two_sides("llama2-sys-bos", LLAMA2_SYS, "").exchange("[INST] ", "<s>[INST] "),
    Format::two_sides(
        "llama2-sys-strip",
        ["<<SYS>>\n{trimmed}\n<</SYS>>\n\n", "{trimmed} [/INST]", "{trimmed}</s>"],
        "",
    )
    .exchange("[INST] ", "[INST] "),
    Format::new(
        "llama3",
        "<|start_header_id|>{role}<|end_header_id|>\n\n{trimmed}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    Format::new(
        "llama4",
        "<|header_start|>{role}<|header_end|>\n\n{trimmed}<|eot|>",
        "<|header_start|>assistant<|header_end|>\n\n",
    ),
    Format::new(
        "megrez",
        "<|role_start|>{role}<|role_end|>{content}<|turn_end|>",
        "<|role_start|>assistant<|role_end|>",
    ),
    Format::two_sides("minicpm", ["{trimmed}", "<用户>{trimmed}<AI>", "{trimmed}"], ""),
    Format::two_sides("mistral-v1", ["{content}\n\n", "{content} [/INST]", " {content}</s>"], "")
        .exchange(" [INST] ", " [INST] "),
    Format::two_sides("mistral-v3", ["{content}\n\n", "{content}[/INST]", " {trimmed}</s>"], "")
        .exchange("[INST] ", "[INST] "),
    Format::two_sides("mistral-v3-tekken", ["{content}\n\n", "{content}[/INST]", "{content}</s>"], "")
        .exchange("[INST]", "[INST]"),
    Format::two_sides(
        "mistral-v7",
        ["[SYSTEM_PROMPT] {content}[/SYSTEM_PROMPT]", "[INST] {content}[/INST]", " {content}</s>"],
        "",
    ),
    Format::two_sides(
        "mistral-v7-tekken",
        ["[SYSTEM_PROMPT]{content}[/SYSTEM_PROMPT]", "[INST]{content}[/INST]", "{content}</s>"],
        "",
    ),
    Format::new("monarch", "{role}\n{content}</s>\n", "<s>assistant\n").between("<s>"),
    Format::new("openchat", "GPT4 Correct {Role}: {content}<|end_of_turn|>", "GPT4 Correct Assistant:")
        .system(System::Here("{content}<|end_of_turn|>")),
    Format::two_sides("orion", ["", "Human: {system}{content}\n\nAssistant: </s>", "{content}</s>"], "")
        .system(System::IntoNext("{content}")),
    Format::three(
        "pangu-embedded",
        [
            "[unused9]系统：{content}[unused10]",
            "[unused9]用户：{content}[unused10]",
            "[unused9]助手：{content}[unused10]",
        ],
        "[unused9]助手：",
    )
    .no_system("[unused9]系统：[unused10]")
    .more(&[("tool", "[unused9]工具：{content}[unused10]"), ("function", "[unused9]方法：{content}[unused10]")]),
    Format::new("phi3", "<|{role}|>\n{content}<|end|>\n", "<|assistant|>\n"),
    Format::new("phi4", "<|im_start|>{role}<|im_sep|>{content}<|im_end|>", "<|im_start|>assistant<|im_sep|>"),
    Format::three("rwkv-world", ["System: {trimmed}\n\n", "User: {trimmed}\n\n", "Assistant: {trimmed}\n\n"], "")
        .behind_user("Assistant:"),
    Format::new("seed_oss", "<seed:bos>{role}\n{content}<seed:eos>", "<seed:bos>assistant\n")
        .assistant("<seed:bos>assistant\n{trimmed}<seed:eos>"),
    Format::two_sides(
        "smolvlm",
        ["{content}\n\n", "User: {content}<end_of_utterance>\n", "Assistant: {content}<end_of_utterance>\n"],
        "Assistant:",
    )
    .begin("<|im_start|>"),
    Format::three("vicuna", ["{content}\n\n", "USER: {content}\n", "ASSISTANT: {content}</s>\n"], "ASSISTANT:"),
    Format::three(
        "vicuna-orca",
        ["SYSTEM: {content}\n", "USER: {content}\n", "ASSISTANT: {content}</s>\n"],
        "ASSISTANT:",
    ),
    Format::three("yandex", ["", " Пользователь: {content}\n\n", " Ассистент: {content}\n\n"], " Ассистент:[SEP]"),
    Format::new("zephyr", "<|{role}|>\n{content}<|endoftext|>\n", "<|assistant|>\n"),
];

const BAILING: [&str; 3] =
    ["<role>{ROLE}</role>{content}", "<role>HUMAN</role>{content}", "<role>{ROLE}</role>{content}"];
const EXAONE: [&str; 3] =
    ["[|system|]{trimmed}[|endofturn|]\n", "[|user|]{trimmed}\n", "[|assistant|]{trimmed}[|endofturn|]\n"];
const LLAMA2_SYS: [&str; 3] = ["<<SYS>>\n{content}\n<</SYS>>\n\n", "{content} [/INST]", "{content}</s>"];
