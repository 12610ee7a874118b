//! Vectors as JSON, in OpenAI's shape and in llama-server's own.

use base64::{Engine, engine::general_purpose::STANDARD};
use engine::Pooling;
use serde_json::{Value as Json, json};

use crate::{
    embed::{Embedded, normalize},
    error::ApiError,
    wire::fields::Fields,
};

/// Whose shape an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    OpenAi,
    Native,
}

/// How OpenAI's shape holds a vector: `encoding_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A list of numbers.
    Float,
    /// Little-endian single precision, in base64.
    Base64,
}

impl Encoding {
    pub(crate) fn parse(fields: &Fields) -> Result<Self, ApiError> {
        match fields.string("encoding_format")? {
            None | Some("float") => Ok(Self::Float),
            Some("base64") => Ok(Self::Base64),
            Some(other) => Err(ApiError::invalid(format!(
                "Field 'encoding_format': The format to return the embeddings in. Can be either float or base64, but is {other:?}"
            ))),
        }
    }
}

/// How an answer looks.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddingsAnswer {
    pub(crate) shape: Shape,
    pub(crate) encoding: Encoding,
    /// See [`normalize`]; vectors of single tokens are not normalized.
    pub(crate) norm: i32,
    pub(crate) pooling: Pooling,
    /// Elements of a vector.
    pub(crate) width: usize,
    /// The name that the client gave, or the model's.
    pub(crate) model: String,
}

impl EmbeddingsAnswer {
    /// The answer's text. Written without a tree of values, which would take many times the numbers' memory.
    pub(crate) fn text(&self, mut embedded: Vec<Embedded>) -> String {
        if self.pooling != Pooling::None {
            embedded.iter_mut().for_each(|one| normalize(&mut one.values, self.norm));
        }
        let entries: Vec<String> = embedded.iter().enumerate().map(|(index, one)| self.entry(index, one)).collect();
        let entries = entries.join(",");
        match self.shape {
            Shape::Native => format!("[{entries}]"),
            Shape::OpenAi => {
                let num_tokens: usize = embedded.iter().map(|one| one.num_tokens).sum();
                let usage = json!({ "prompt_tokens": num_tokens, "total_tokens": num_tokens });
                let model = Json::from(self.model.as_str());
                format!(r#"{{"model":{model},"object":"list","usage":{usage},"data":[{entries}]}}"#)
            }
        }
    }

    fn entry(&self, index: usize, one: &Embedded) -> String {
        match (self.shape, self.encoding) {
            (Shape::Native, _) => {
                let rows: Vec<_> = one.values.chunks(self.width.max(1)).map(numbers).collect();
                format!(r#"{{"index":{index},"embedding":[{}]}}"#, rows.join(","))
            }
            (Shape::OpenAi, Encoding::Float) => {
                format!(r#"{{"embedding":{},"index":{index},"object":"embedding"}}"#, numbers(&one.values))
            }
            (Shape::OpenAi, Encoding::Base64) => {
                let bytes: Vec<u8> = one.values.iter().flat_map(|x| x.to_le_bytes()).collect();
                let text = STANDARD.encode(bytes);
                format!(r#"{{"embedding":"{text}","index":{index},"object":"embedding","encoding_format":"base64"}}"#)
            }
        }
    }
}

/// A list of numbers, each with the fewest digits that give it back; what is no number is null.
fn numbers(values: &[f32]) -> String {
    serde_json::to_string(values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use engine::Pooling;
    use serde_json::{Value as Json, json};

    use super::{EmbeddingsAnswer, Encoding, Shape};
    use crate::embed::Embedded;

    fn answer(shape: Shape, encoding: Encoding, pooling: Pooling) -> Json {
        let answer = EmbeddingsAnswer { shape, encoding, norm: 2, pooling, width: 2, model: "m\"".to_owned() };
        let rows = if pooling == Pooling::None { vec![3.0, 4.0, 0.1, 2.0] } else { vec![3.0, 4.0] };
        let one = Embedded { values: rows, num_tokens: 2 };
        serde_json::from_str(&answer.text(vec![one.clone(), one])).expect("JSON")
    }

    #[test]
    fn shapes_are_those_of_openai_and_llama_server() {
        let float = answer(Shape::OpenAi, Encoding::Float, Pooling::Mean);
        let entry = |index: usize| json!({ "embedding": [0.6, 0.8], "index": index, "object": "embedding" });
        let usage = json!({ "prompt_tokens": 4, "total_tokens": 4 });
        assert_eq!(float, json!({ "model": "m\"", "object": "list", "usage": usage, "data": [entry(0), entry(1)] }));
        let base64 = &answer(Shape::OpenAi, Encoding::Base64, Pooling::Mean)["data"][0];
        assert_eq!(base64["embedding"], "mpkZP83MTD8=");
        let native = answer(Shape::Native, Encoding::Base64, Pooling::Cls);
        assert_eq!(native[1], json!({ "index": 1, "embedding": [[0.6, 0.8]] }));
        // Vectors of tokens stay as they are.
        let tokens = answer(Shape::Native, Encoding::Float, Pooling::None);
        assert_eq!(tokens[0], json!({ "index": 0, "embedding": [[3.0, 4.0], [0.1, 2.0]] }));
    }
}
