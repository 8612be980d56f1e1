"""The commands of `keepwatch`, one file per subject; `monitor.cli` puts them together."""
