//! The units of the file: `30s`, `10MiB`, `20/s`, `1%`.
