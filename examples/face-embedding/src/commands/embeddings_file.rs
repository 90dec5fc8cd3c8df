//! Embeddings as a file, with the names of their pictures: safetensors, NPY or CSV.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

/// What a file holds; its extension says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    Npy,
    Csv,
}

impl Format {
    /// The format that the extension of a file asks for.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npy") => Ok(Self::Npy),
            Some("csv") => Ok(Self::Csv),
            _ => bail!("--output: must end in .safetensors, .npy or .csv, got {}", path.display()),
        }
    }
}

/// The names of an embedding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Name {
    /// Below the folder that was embedded, with `/` between folders.
    pub(super) file: String,
    /// Who is on the picture; empty where the folder does not tell.
    pub(super) person: String,
}

/// The bytes of a file with so many embeddings as names, `[pictures, dim]`, row-major.
pub(super) fn encode(format: Format, names: &[Name], embeddings: &[f32]) -> Result<Vec<u8>> {
    let dim = embeddings.len() / names.len();
    match format {
        Format::Safetensors => safetensors(names, embeddings, dim),
        Format::Npy => npy(names, embeddings, dim),
        Format::Csv => csv(names, embeddings, dim),
    }
}

/// One tensor `embeddings`, and in the metadata `pictures`: JSON, an object with `file` and `person` for each row.
fn safetensors(names: &[Name], embeddings: &[f32], dim: usize) -> Result<Vec<u8>> {
    let bytes: Vec<u8> = embeddings.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = TensorView::new(Dtype::F32, vec![names.len(), dim], &bytes)?;
    // One entry only: several would come in an order by chance.
    let metadata = HashMap::from([("pictures".to_string(), serde_json::to_string(names)?)]);
    Ok(safetensors::serialize([("embeddings", tensor)], Some(metadata))?)
}

/// A row per picture: `file`, `person`, and a column for each value, with as many digits as it takes to read it back.
fn csv(names: &[Name], embeddings: &[f32], dim: usize) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let columns = (0..dim).map(|column| Cow::from(format!("embedding_{column}")));
    table.write_record(["file".into(), "person".into()].into_iter().chain(columns).map(Cow::into_owned))?;
    for (name, row) in names.iter().zip(embeddings.chunks_exact(dim)) {
        let values = row.iter().map(f32::to_string);
        table.write_record([name.file.clone(), name.person.clone()].into_iter().chain(values))?;
    }
    table.into_inner().context("cannot write the table")
}

/// A structured array with the fields `file`, `person` and `embedding`, which `numpy.load` reads without pickle.
///
/// By hand, since the crates that write NPY (`ndarray-npy`, `npyz`) bring a matrix library or a parser of types for
/// these forty lines.
///
/// # Source
///
/// NumPy's `numpy/lib/format.py`, version 1.0 of the format.
fn npy(names: &[Name], embeddings: &[f32], dim: usize) -> Result<Vec<u8>> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    const ALIGNMENT: usize = 64;

    // Texts have one length in all rows, of four bytes a character, and at least one.
    let longest = |of: fn(&Name) -> &str| names.iter().map(|name| of(name).chars().count()).max().unwrap_or(0).max(1);
    let file: fn(&Name) -> &str = |name| &name.file;
    let person: fn(&Name) -> &str = |name| &name.person;
    let texts = [file, person].map(|of| (of, longest(of)));
    let mut header = format!(
        "{{'descr': [('file', '<U{}'), ('person', '<U{}'), ('embedding', '<f4', ({dim},))], 'fortran_order': False, \
         'shape': ({},), }}",
        texts[0].1,
        texts[1].1,
        names.len()
    );
    // Spaces up to the line break, so that the values are aligned.
    let length = (MAGIC.len() + 2 + header.len() + 1).next_multiple_of(ALIGNMENT) - MAGIC.len() - 2;
    header = format!("{header:<width$}\n", width = length - 1);

    let mut bytes = MAGIC.to_vec();
    bytes.extend(u16::try_from(length).context("the header of the NPY file is too long")?.to_le_bytes());
    bytes.extend(header.as_bytes());
    for (name, row) in names.iter().zip(embeddings.chunks_exact(dim)) {
        for (of, length) in texts {
            let characters = of(name).chars().map(u32::from).chain(std::iter::repeat(0));
            bytes.extend(characters.take(length).flat_map(u32::to_le_bytes));
        }
        bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_pictures() -> ([Name; 2], [f32; 4]) {
        let name = |file: &str, person: &str| Name { file: file.to_string(), person: person.to_string() };
        ([name("é/1.png", "é"), name("b.png", "")], [1.0, -0.1, 1e-30, 3e7])
    }

    #[test]
    fn the_array_is_the_one_that_numpy_writes() {
        let (names, embeddings) = two_pictures();
        let bytes = encode(Format::Npy, &names, &embeddings).expect("two pictures");
        // NumPy 2.4.6: a = np.array([("é/1.png", "é", (1.0, -0.1)), ("b.png", "", (1e-30, 3e7))],
        // dtype=[("file", "<U7"), ("person", "<U1"), ("embedding", "<f4", (2,))]); np.save wrote this header, with more
        // spaces behind it, and a.tobytes().hex() is this.
        let header = "{'descr': [('file', '<U7'), ('person', '<U1'), ('embedding', '<f4', (2,))], \
                      'fortran_order': False, 'shape': (2,), }";
        let values = concat!(
            "e90000002f000000310000002e000000700000006e00000067000000e90000000000803fcdccccbd",
            "620000002e000000700000006e000000670000000000000000000000000000006042a20dc0e1e44b",
        );
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let (found, rest) = bytes[10..].split_at(length);
        assert_eq!(std::str::from_utf8(found).expect("text").trim_end(), header);
        assert!((10 + length).is_multiple_of(64) && found.ends_with(b"\n"));
        let hex: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, values);
    }

    #[test]
    fn the_table_has_names_and_values_that_read_back() {
        let (names, embeddings) = two_pictures();
        let bytes = encode(Format::Csv, &names, &embeddings).expect("two pictures");
        let text = String::from_utf8(bytes).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["file,person,embedding_0,embedding_1", "é/1.png,é,1,-0.1"]);
        let last: Vec<&str> = lines[2].split(',').collect();
        assert_eq!(last[..2], ["b.png", ""]);
        let values: Vec<f32> = last[2..].iter().map(|value| value.parse().expect("a number")).collect();
        assert_eq!(values, embeddings[2..]);
    }

    #[test]
    fn the_tensor_has_names_in_its_metadata_and_equal_files_are_equal() {
        let (names, embeddings) = two_pictures();
        let bytes = encode(Format::Safetensors, &names, &embeddings).expect("two pictures");
        assert_eq!(bytes, encode(Format::Safetensors, &names, &embeddings).expect("two pictures"));
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a file of tensors");
        let tensor = file.tensor("embeddings").expect("the only tensor");
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &[2, 2][..]));
        assert_eq!(tensor.data()[4..8], (-0.1_f32).to_le_bytes());
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("a file of tensors");
        let pictures = metadata.metadata().as_ref().expect("there are some")["pictures"].clone();
        assert_eq!(pictures, r#"[{"file":"é/1.png","person":"é"},{"file":"b.png","person":""}]"#);
    }

    #[test]
    fn the_extension_says_the_format() {
        assert_eq!(Format::of(Path::new("a.b/c.NPY")).expect("known"), Format::Npy);
        for path in ["a", "a.npz", "csv"] {
            let error = Format::of(Path::new(path)).expect_err("unknown").to_string();
            assert_eq!(error, format!("--output: must end in .safetensors, .npy or .csv, got {path}"));
        }
    }
}
