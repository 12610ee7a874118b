//! What a kernel is compiled for.

use std::{fmt, str::FromStr};

/// Machine code for one compute capability, or PTX that the driver compiles when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A cubin, e.g. `sm_75`.
    Cubin(u32),
    /// PTX, e.g. `compute_75`.
    Ptx(u32),
}

impl Target {
    /// What a pack holds unless told otherwise: T4, A100, A10, L4, H100, and PTX for what is newer.
    pub const PACKED: [Self; 6] =
        [Self::Cubin(75), Self::Cubin(80), Self::Cubin(86), Self::Cubin(89), Self::Cubin(90), Self::Ptx(75)];

    /// Whether a device of compute capability `number` (e.g. 86) runs it. Cubins run on the same major number.
    #[must_use]
    pub fn runs_on(self, number: u32) -> bool {
        match self {
            Self::Cubin(own) => own / 10 == number / 10 && own <= number,
            Self::Ptx(own) => own <= number,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cubin(number) => write!(f, "sm_{number}"),
            Self::Ptx(number) => write!(f, "compute_{number}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no target; expected for example `sm_75` or `compute_75`");
        let number = |digits: &str| digits.parse().ok().filter(|n| (75..1000).contains(n)).ok_or_else(wrong);
        match text.split_once('_') {
            Some(("sm", digits)) => number(digits).map(Self::Cubin),
            Some(("compute", digits)) => number(digits).map(Self::Ptx),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn names_are_the_compilers() {
        for target in Target::PACKED {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for wrong in ["75", "sm_", "sm_70", "sm_9a", "ptx_75", ""] {
            assert!(wrong.parse::<Target>().is_err_and(|e| e.contains(&format!("`{wrong}`"))), "{wrong}");
        }
    }

    #[test]
    fn cubins_run_within_their_major_number_and_ptx_upwards() {
        assert!(Target::Cubin(86).runs_on(89) && Target::Cubin(90).runs_on(90) && Target::Ptx(75).runs_on(120));
        assert!(!Target::Cubin(89).runs_on(86) && !Target::Cubin(75).runs_on(80) && !Target::Ptx(90).runs_on(75));
    }
}
