//! Numbers as people read them.

/// `1.5 GiB`, `2.0 MiB`, `512 B`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let exponent = (n.max(1).ilog2() / 10).min(4) as usize;
    if exponent == 0 {
        format!("{n} B")
    } else {
        format!("{:.1} {}", n as f64 / 1024_f64.powi(exponent as i32), UNITS[exponent])
    }
}

/// `8,030,261,248`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.24 B`, `5.2 M`: a count of parameters.
pub(crate) fn parameters(n: u64) -> String {
    match n {
        1_000_000_000.. => format!("{:.2} B", n as f64 / 1e9),
        1_000_000.. => format!("{:.1} M", n as f64 / 1e6),
        _ => thousands(n),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, parameters, thousands};

    #[test]
    fn numbers_read_well() {
        assert_eq!((bytes(0), bytes(1023), bytes(1536)), ("0 B".into(), "1023 B".into(), "1.5 KiB".into()));
        assert_eq!((thousands(12), thousands(1234567)), ("12".into(), "1,234,567".into()));
        assert_eq!(parameters(1_235_814_400), "1.24 B");
    }
}
