"""Records how far from the golden files each model is.

    cargo test -p cpu --test golden -- --nocapture 2>&1 | python tests/golden/record.py      # -p cuda --test gpu: the GPU's

Puts the largest difference of each way and model that the log names into bounds.tsv, in place of the recorded one.
"""

import sys
from pathlib import Path

TABLE = Path(__file__).parent / "bounds.tsv"


def main():
    worst = {}
    for line in sys.stdin:
        # Tests run side by side: a line may begin with another's words.
        fields = line[line.find("golden\t"):].rstrip("\n").split("\t") if "golden\t" in line else []
        if len(fields) == 5:
            key = tuple(fields[1:4])
            worst[key] = max(worst.get(key, 0.0), float(fields[4]))
    lines = TABLE.read_text().splitlines()
    kept = {tuple(f[1:4]): f[4] for f in (line.split("\t") for line in lines) if f[0] == "worst"}
    kept.update((key, f"{value:.1e}") for key, value in worst.items())
    head = [line for line in lines if not line.startswith("worst")]
    TABLE.write_text("\n".join(head + ["\t".join(("worst", *key, kept[key])) for key in sorted(kept)]) + "\n")
    print(f"{len(worst)} recorded")


if __name__ == "__main__":
    main()
