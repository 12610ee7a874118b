//! Text that comes token by token is the text that comes at once, in whole characters.

use std::sync::Arc;

use proptest::prelude::*;
use text::{DetokenizeOptions, Detokenizer, EncodeOptions, Kind, Tokenizer};
use types::TokenId;

use crate::{fixture, vocabularies};

const OF_A_TEXT: DetokenizeOptions = DetokenizeOptions { render_special: true, at_text_start: true };

/// The text of each token as it comes, then the rest.
fn stream(tokenizer: &Arc<Tokenizer>, ids: &[TokenId], options: DetokenizeOptions) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(Arc::clone(tokenizer), options);
    let mut pieces: Vec<String> = ids.iter().map(|id| detokenizer.push(*id)).collect();
    pieces.push(detokenizer.finish());
    pieces
}

/// There and back, in one go and token by token.
fn check_round_trip(tokenizer: &Arc<Tokenizer>, text: &str) {
    // SentencePiece's vocabularies put a space behind each such token too, which cannot be told from the text's own.
    let is_spm = tokenizer.kind() == Kind::Spm;
    let text = if is_spm { &text.replace("<tool>", "") } else { text };
    for parse_special in [false, !is_spm] {
        let ids = tokenizer.encode(text, EncodeOptions { add_special: false, parse_special }).expect("tokens");
        assert_eq!(tokenizer.decode(&ids, OF_A_TEXT), text);
        let pieces = stream(tokenizer, &ids, OF_A_TEXT);
        assert_eq!(pieces.concat(), text);
        // What is text needs no substitutes on its way.
        assert!(text.contains('\u{FFFD}') || !pieces.iter().any(|p| p.contains('\u{FFFD}')), "{pieces:?}");
    }
}

/// Tokens in any order, which need not be text.
fn check_any_tokens(tokenizer: &Arc<Tokenizer>, seeds: &[u32], options: DetokenizeOptions) {
    let num_tokens = tokenizer.num_tokens() as u32;
    // One more than there are: an id that is no token has no text.
    let ids: Vec<TokenId> = seeds.iter().map(|seed| TokenId(seed % (num_tokens + 1))).collect();
    let pieces = stream(tokenizer, &ids, options);
    let bytes = tokenizer.decode_bytes(&ids, options);
    assert_eq!(pieces.concat(), String::from_utf8_lossy(&bytes));
    let mut num_told = 0;
    for (idx, piece) in pieces[..ids.len()].iter().enumerate() {
        num_told += piece.len();
        let so_far = String::from_utf8_lossy(&tokenizer.decode_bytes(&ids[..=idx], options)).len();
        // At most the beginning of one character is held back, which alone would show as U+FFFD.
        assert!(so_far - num_told <= '\u{FFFD}'.len_utf8(), "{num_told} of {so_far} bytes");
    }
}

proptest! {
    #![proptest_config(fixture::config(2000))]

    #[test]
    fn any_text_comes_back(text in fixture::any_text()) {
        check_round_trip(&fixture::byte_level(), &text);
        check_round_trip(&fixture::sentence_piece(), &text);
    }

    #[test]
    fn any_tokens_are_whole_characters(
        seeds in prop::collection::vec(any::<u32>(), 0..40),
        render_special in any::<bool>(),
        at_text_start in any::<bool>(),
    ) {
        let options = DetokenizeOptions { render_special, at_text_start };
        check_any_tokens(&fixture::byte_level(), &seeds, options);
        check_any_tokens(&fixture::sentence_piece(), &seeds, options);
    }
}

#[test]
fn a_character_is_held_back_until_it_is_whole() {
    let tokenizer = fixture::byte_level();
    let ids = tokenizer.encode("a😀b", EncodeOptions::default()).expect("tokens");
    let texts: Vec<_> = ids.iter().map(|id| tokenizer.token_text(*id).expect("a token")).collect();
    assert_eq!(texts, ["a", "ðŁĺ", "Ģ", "b"]);
    assert_eq!(stream(&tokenizer, &ids, OF_A_TEXT), ["a", "", "😀", "b", ""]);
    assert_eq!(stream(&tokenizer, &ids[..2], OF_A_TEXT), ["a", "", "\u{FFFD}"], "it never became whole");
    let broken = [ids[1], ids[3]];
    assert_eq!(stream(&tokenizer, &broken, OF_A_TEXT), ["", "\u{FFFD}b", ""], "it cannot become whole any more");
}

#[test]
fn control_tokens_are_hidden_unless_they_are_asked_for() {
    let tokenizer = fixture::byte_level();
    let options = EncodeOptions { parse_special: true, ..EncodeOptions::default() };
    let ids = tokenizer.encode("he<|im_end|>he<tool>", options).expect("tokens");
    assert_eq!(tokenizer.decode(&ids, DetokenizeOptions::default()), "hehe<tool>");
    assert_eq!(tokenizer.decode(&ids, OF_A_TEXT), "he<|im_end|>he<tool>");
}

#[test]
fn the_space_before_the_first_word_is_taken_away_at_the_start_of_a_text_alone() {
    let tokenizer = fixture::sentence_piece();
    let ids = tokenizer.encode("hello", EncodeOptions { add_special: true, parse_special: false }).expect("tokens");
    assert_eq!(tokenizer.decode(&ids, DetokenizeOptions { at_text_start: true, ..Default::default() }), "hello");
    assert_eq!(tokenizer.decode(&ids, DetokenizeOptions::default()), " hello", "an answer goes on where a prompt ends");
}

#[test]
fn real_vocabularies_keep_any_text() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    for name in ["llama-spm", "llama-bpe", "qwen2", "gpt-2", "gemma-4"] {
        let Some(tokenizer) = vocabularies::load(name).map(Arc::new) else { continue };
        let mut runner = TestRunner::new(fixture::config(1));
        for _ in 0..100 {
            let text = fixture::any_text().new_tree(&mut runner).expect("a text").current();
            check_round_trip(&tokenizer, &text);
            let seeds = prop::collection::vec(any::<u32>(), 0..20);
            let seeds = seeds.new_tree(&mut runner).expect("numbers").current();
            check_any_tokens(&tokenizer, &seeds, DetokenizeOptions::default());
        }
    }
}
