//! Metadata values: every type, arrays, nesting, and the typed look-ups.

use gguf::{Array, Builder, Gguf, Metadata, Value};

use crate::{
    check,
    raw::{Raw, with_value},
};

fn read(type_id: u32, bytes: &[u8]) -> Value {
    let gguf = Gguf::from_bytes(with_value(type_id, &Raw::new().bytes(bytes))).expect("a sound file");
    gguf.metadata().get("key").expect("the value just written").clone()
}

fn array(element_id: u32, len: u64, elements: &[u8]) -> Raw {
    Raw::new().u32(element_id).u64(len).bytes(elements)
}

/// The 13 types: id, the bytes of two elements, what they read as.
fn cases() -> Vec<(u32, Vec<u8>, [Value; 2])> {
    let both = |a: &[u8], b: &[u8]| [a, b].concat();
    vec![
        (0, vec![1, 255], [1, 255].map(Value::Uint)),
        (1, vec![1, 255], [1, -1].map(Value::Int)),
        (2, both(&1_u16.to_le_bytes(), &u16::MAX.to_le_bytes()), [1, 65_535].map(Value::Uint)),
        (3, both(&1_i16.to_le_bytes(), &i16::MIN.to_le_bytes()), [1, -32_768].map(Value::Int)),
        (4, both(&1_u32.to_le_bytes(), &u32::MAX.to_le_bytes()), [1, 4_294_967_295].map(Value::Uint)),
        (5, both(&1_i32.to_le_bytes(), &i32::MIN.to_le_bytes()), [1, -2_147_483_648].map(Value::Int)),
        (6, both(&1.5_f32.to_le_bytes(), &f32::INFINITY.to_le_bytes()), [1.5, f64::INFINITY].map(Value::Float)),
        (7, vec![0, 1], [false, true].map(Value::Bool)),
        (8, Raw::new().str("ab").str("").0, ["ab", ""].map(|s| Value::String(s.to_owned()))),
        (10, both(&1_u64.to_le_bytes(), &u64::MAX.to_le_bytes()), [1, u64::MAX].map(Value::Uint)),
        (11, both(&1_i64.to_le_bytes(), &i64::MIN.to_le_bytes()), [1, i64::MIN].map(Value::Int)),
        (12, both(&1e300_f64.to_le_bytes(), &(-0.5_f64).to_le_bytes()), [1e300, -0.5].map(Value::Float)),
    ]
}

/// An array of these values, which have one type.
fn array_of(values: &[Value]) -> Array {
    macro_rules! all {
        ($variant:ident) => {
            Array::$variant(
                values.iter().map(|v| if let Value::$variant(x) = v { x.clone() } else { panic!("{v:?}") }).collect(),
            )
        };
    }
    match values[0] {
        Value::Uint(_) => all!(Uint),
        Value::Int(_) => all!(Int),
        Value::Float(_) => all!(Float),
        Value::Bool(_) => all!(Bool),
        Value::String(_) => all!(String),
        Value::Array(_) => all!(Array),
    }
}

#[test]
fn every_type_is_read_alone_in_arrays_and_in_nested_arrays() {
    for (id, bytes, values) in cases() {
        assert_eq!(read(id, &bytes), values[0], "type {id}");
        let flat = array_of(&values);
        assert_eq!(read(9, &array(id, 2, &bytes).0), Value::Array(flat.clone()), "array of type {id}");
        let inner = array(id, 2, &bytes).raw(&array(id, 0, &[]));
        let Value::Array(nested) = read(9, &array(9, 2, &inner.0).0) else { panic!("type {id}") };
        let Array::Array(inner) = nested else { panic!("type {id}") };
        assert_eq!((&inner[0], inner[1].len(), inner.len()), (&flat, 0, 2), "nested array of type {id}");
        assert!(inner[1].is_empty());
    }
}

#[test]
fn a_value_cut_short_names_its_key() {
    for (id, bytes, _) in cases() {
        // Strings: both elements; a cut one needs its length at least.
        for len in 0..bytes.len() {
            check(with_value(9, &array(id, 2, &bytes[..len])), "`key` needs");
        }
    }
    check(with_value(9, &Raw::new().u32(4)), "`key` needs 8 bytes");
}

#[test]
fn unknown_types_and_odd_booleans_are_refused() {
    check(with_value(13, &Raw::new().u64(0)), "`key` is of value type 13; expected a value type from 0 to 12");
    check(with_value(u32::MAX, &Raw::new().u64(0)), "`key` is of value type 4294967295");
    check(with_value(9, &array(13, 0, &[])), "`key` is of value type 13");
    check(with_value(7, &Raw::new().bytes(&[2])), "`key` is the byte 2; expected 0 or 1 for a boolean");
}

#[test]
fn arrays_that_lie_about_their_length_are_refused() {
    check(with_value(9, &array(12, u64::MAX, &[])), "`key` needs 18446744073709551615 bytes");
    check(with_value(9, &array(8, 3, &[0; 23])), "`key` needs 24 bytes at offset 51, but only 23 are left");
    check(with_value(9, &array(9, 2, &[0; 23])), "`key` needs 24 bytes");
    check(with_value(8, &Raw::new().u64(5).bytes(b"four")), "`key` needs 5 bytes");
}

#[test]
fn arrays_nest_four_deep_and_have_sixteen_million_elements_in_all() {
    let nest = |depth| (0..depth).fold(array(7, 1, &[1]), |inner, _| array(9, 1, &inner.0));
    check(with_value(9, &nest(3)), "ok");
    check(with_value(9, &nest(4)), "`key` is nested 5 deep; expected at most 4 levels");
    check(with_value(9, &nest(1000)), "`key` is nested 5 deep");
    let len = 1 << 24;
    let elements = vec![1; len + 1];
    check(with_value(9, &array(0, len as u64, &elements[1..])), "ok");
    let expect = "`key` is an array of 16777217 elements; expected at most 16777216 in all arrays of the file";
    check(with_value(9, &array(0, len as u64 + 1, &elements)), expect);
    let halves = array(0, 1 << 23, &elements[..1 << 23]);
    check(with_value(9, &array(9, 2, &halves.clone().raw(&halves).0)), "`key` is an array of 8388608 elements");
}

#[test]
fn bytes_that_are_no_utf8_are_replaced() {
    let bytes = Raw::new().u64(3).bytes(b"a\xffb");
    assert_eq!(read(8, &bytes.0), Value::String("a\u{fffd}b".to_owned()));
}

#[test]
fn look_ups_convert_what_fits_and_name_the_key_of_what_does_not() {
    let mut metadata = Metadata::default();
    let values = [
        ("uint", Value::Uint(7)),
        ("int", Value::Int(7)),
        ("negative", Value::Int(-7)),
        ("float", Value::Float(0.5)),
        ("nan", Value::Float(f64::NAN)),
        ("huge", Value::Float(1e39)),
        ("bool", Value::Bool(true)),
        ("string", Value::String("s".to_owned())),
        ("uints", Value::Array(Array::Uint(vec![1, 2]))),
        ("ints", Value::Array(Array::Int(vec![1, 2]))),
        ("negatives", Value::Array(Array::Int(vec![1, -2]))),
        ("floats", Value::Array(Array::Float(vec![0.5]))),
        ("strings", Value::Array(Array::String(["s"].iter().collect()))),
    ];
    assert!(values.into_iter().all(|(key, value)| metadata.insert(key, value)));
    for key in ["uint", "int"] {
        assert_eq!(metadata.uint(key).unwrap(), Some(7));
        assert_eq!(metadata.float(key).unwrap(), Some(7.0));
        assert_eq!(metadata.uints(key).unwrap(), Some(vec![7]));
    }
    assert_eq!(metadata.float("negative").unwrap(), Some(-7.0));
    assert_eq!(metadata.float("float").unwrap(), Some(0.5));
    assert_eq!(metadata.bool("bool").unwrap(), Some(true));
    assert_eq!(metadata.str("string").unwrap(), Some("s"));
    assert_eq!(metadata.uints("uints").unwrap(), Some(vec![1, 2]));
    assert_eq!(metadata.uints("ints").unwrap(), Some(vec![1, 2]));
    assert_eq!(metadata.floats("floats").unwrap(), Some(&[0.5][..]));
    assert_eq!(metadata.strings("strings").unwrap(), Some(&["s"].iter().collect()));
    assert_eq!(metadata.uint("absent").unwrap(), None);
    assert_eq!(metadata.iter().count(), 13);
    let errors = [
        (metadata.uint("negative").map(|_| ()), "`negative` is a signed integer; expected a non-negative integer"),
        (metadata.uint("float").map(|_| ()), "`float` is a float; expected a non-negative integer"),
        (metadata.float("nan").map(|_| ()), "`nan` is a float; expected a finite number"),
        (metadata.float("huge").map(|_| ()), "`huge` is a float; expected a finite number"),
        (metadata.float("bool").map(|_| ()), "`bool` is a boolean; expected a finite number"),
        (metadata.bool("uint").map(|_| ()), "`uint` is an unsigned integer; expected a boolean"),
        (metadata.str("strings").map(|_| ()), "`strings` is an array; expected a string"),
        (metadata.strings("string").map(|_| ()), "`string` is a string; expected an array of strings"),
        (
            metadata.uints("negatives").map(|_| ()),
            "`negatives` is an array; expected an array of non-negative integers",
        ),
        (metadata.floats("float").map(|_| ()), "`float` is a float; expected an array of floats"),
        (metadata.require("absent", metadata.str("absent")).map(|_| ()), "metadata key `absent` is missing"),
        (metadata.require("nan", metadata.float("nan")).map(|_| ()), "`nan` is a float"),
    ];
    for (result, expect) in errors {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
    }
}

#[test]
fn what_the_builder_writes_is_read_back() {
    let nested = Array::Array(vec![Array::Uint(vec![1]), Array::String(["x", ""].iter().collect())]);
    let values = [
        ("uint", Value::Uint(u64::MAX)),
        ("int", Value::Int(i64::MIN)),
        ("short", Value::Float(0.1_f32.into())),
        ("long", Value::Float(0.1)),
        ("bool", Value::Bool(true)),
        ("string", Value::String("größer".to_owned())),
        ("ints", Value::Array(Array::Int(vec![-1, 0]))),
        ("floats", Value::Array(Array::Float(vec![0.1, f64::INFINITY]))),
        ("bools", Value::Array(Array::Bool(vec![true, false]))),
        ("nested", Value::Array(nested)),
    ];
    let builder = values.iter().fold(Builder::new(), |builder, (key, value)| builder.value(key, value.clone()));
    let gguf = Gguf::from_bytes(builder.tensor_f32("t", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).build()).unwrap();
    for (key, value) in &values {
        assert_eq!(gguf.metadata().get(key), Some(value), "{key}");
    }
    let tensor = gguf.tensor("t").unwrap();
    assert_eq!((tensor.shape.as_slice(), tensor.num_weights(), tensor.num_bytes), (&[2, 3][..], 6, 24));
    assert_eq!(gguf.data(tensor)[20..], 6.0_f32.to_le_bytes());
    assert_eq!((gguf.weight_bytes(), gguf.file_bytes() % 32), (24, 0));
}
