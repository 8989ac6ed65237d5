//! `rotate`: what is put in the place of its parts, and what cannot be.

use std::time::Duration;

use crate::config::Format;
use crate::config::tests::{app, messages};
use crate::spec::{Compression, Rotation};

#[test]
fn what_is_not_named_keeps_its_default() {
    let of = |keys: &str| app(&format!("script = 'app.js'\n{keys}")).logs.style.rotate;
    let usual =
        Rotation { size: Some(10 << 20), every: None, keep: 10, total: Some(1 << 30), compress: Compression::Gzip };
    for keys in ["", "rotate = true", "rotate = {}", "rotate = { compress = true }", "rotate = { compress = 'gzip' }"] {
        assert_eq!(of(keys), Some(usual.clone()), "{keys}");
    }
    assert_eq!(of("rotate = false"), None);
    let all = "rotate = { size = '4K', every = '1d', keep = 0, total = '2G', compress = 'zstd' }";
    let day = Some(Duration::from_secs(86_400));
    let (size, total) = (Some(4096), Some(2 << 30));
    assert_eq!(of(all), Some(Rotation { size, every: day, keep: 0, total, compress: Compression::Zstd }));
    let plain = Rotation { compress: Compression::None, ..usual };
    assert_eq!(of("rotate = { compress = false }"), Some(plain));
}

#[test]
fn what_would_make_a_file_of_each_line_is_refused() {
    for (value, message) in [
        ("{ size = '4095' }", "`rotate.size` cannot be 4095 bytes"),
        ("{ size = 0 }", "`rotate.size` cannot be 0 bytes"),
        ("{ every = 999 }", "`rotate.every` cannot be less than a second"),
        ("{ compress = 'xz' }", "`rotate.compress` cannot be `xz`"),
        ("{ size = 'big' }", "`rotate.size` cannot be `big`"),
        ("'daily'", "`rotate` cannot be `daily`"),
        ("{ every = '1d', sise = '1M' }", "unknown key `sise` in `rotate`"),
    ] {
        let found = messages(&format!("[[apps]]\nscript = 'app.js'\nrotate = {value}"), Format::Toml);
        assert!(found.len() == 1 && found[0].starts_with(message), "{value}: {found:?}");
    }
}
