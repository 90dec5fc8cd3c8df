//! The few values of Python's pickle that a file of pairs has: `(list of byte strings, list of bools)`.
//!
//! Written by hand, since a pickle is a program, and `serde-pickle` 1.2 copies a value for every reference to it, so that a small file
//! could take all memory: this reader knows the instructions that write such lists, in every way in
//! which Python 2 and 3 write them (protocols 0 to 5), and refuses all others by name. Nothing is called, and byte strings are
//! slices of the file where they stand in it as they are.
//!
//! # Source
//!
//! Python's `Lib/pickletools.py`, which describes every instruction.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

/// Most values of a file: a hundred times those of the largest set of pairs that is known.
const MOST_VALUES: usize = 1 << 21;

/// What is on the stack; all but bools by their place among the values of the file, so that a copy costs nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Bool(bool),
    /// A string of Python 2, or `bytes` of Python 3.
    Bytes(usize),
    /// A text of Python 3; only as what bytes are made of.
    Text(usize),
    /// A list or a tuple.
    Sequence(usize),
    /// The function `_codecs.encode`, by which Python 3 writes bytes in protocols 0 to 2; it is not called.
    Encode,
}

/// A file that is being read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Where tuples and parts of lists begin on the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    strings: Vec<Cow<'a, [u8]>>,
    texts: Vec<String>,
    sequences: Vec<Vec<Value>>,
    values: usize,
    /// Bytes that were made of texts.
    encoded: usize,
}

/// The two lists of a file.
#[derive(Debug, PartialEq)]
pub(super) struct Lists<'a> {
    pub(super) byte_strings: Vec<Cow<'a, [u8]>>,
    pub(super) bools: Vec<bool>,
}

/// The byte strings and the bools of a file.
///
/// # Errors
///
/// If it is cut off, holds anything else, or has more than two million values.
pub(super) fn byte_strings_and_bools(bytes: &[u8]) -> Result<Lists<'_>> {
    let mut reader = Reader {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        strings: Vec::new(),
        texts: Vec::new(),
        sequences: Vec::new(),
        values: 0,
        encoded: 0,
    };
    loop {
        let at = reader.at;
        let is_going_on = reader.instruction().with_context(|| format!("byte {at}"))?;
        if !is_going_on {
            return reader.result();
        }
    }
}

impl<'a> Reader<'a> {
    /// Does what the next instruction says; whether there are more.
    fn instruction(&mut self) -> Result<bool> {
        match self.byte()? {
            b'.' => return Ok(false),
            0x80 => {
                let protocol = self.byte()?;
                ensure!(protocol <= 5, "the protocol must be in [0, 5], got {protocol}");
            }
            // A frame is only how much may be read at once.
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            // Lists and tuples.
            b']' | b')' => self.sequence(Vec::new())?,
            b'l' | b't' => {
                let parts = self.since_mark()?;
                self.sequence(parts)?;
            }
            tuple @ 0x85..=0x87 => {
                let count = usize::from(tuple - 0x84);
                let from = self.stack.len().checked_sub(count).context("a tuple of what is not there")?;
                let parts = self.stack.split_off(from);
                self.sequence(parts)?;
            }
            b'a' => {
                let part = self.pop()?;
                self.append(vec![part])?;
            }
            b'e' => {
                let parts = self.since_mark()?;
                self.append(parts)?;
            }
            // Bools, and what Python 2 and NumPy write for them.
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'I' => {
                let number = self.line()?;
                self.push_bool(number)?;
            }
            b'K' => {
                let number = [b'0' + self.byte()?.min(9)];
                self.push_bool(&number)?;
            }
            // Byte strings.
            b'U' | b'C' => self.push_bytes(1)?,
            b'T' | b'B' => self.push_bytes(4)?,
            0x8e => self.push_bytes(8)?,
            b'S' => {
                let unescaped = unescaped(self.line()?)?;
                self.push_string(Cow::Owned(unescaped))?;
            }
            // Texts that byte strings are made of.
            0x8c => self.push_text(1)?,
            b'X' => self.push_text(4)?,
            0x8d => self.push_text(8)?,
            b'V' => {
                let text = raw_unicode(self.line()?)?;
                self.push_new_text(text)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.function(&lossy(module), &lossy(name))?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let text = |value| match value {
                    Value::Text(place) => self.texts.get(place).cloned(),
                    _ => None,
                };
                let (module, name) = text(module).zip(text(name)).context("a function without a name")?;
                self.function(&module, &name)?;
            }
            b'R' => self.encoded()?,
            // What is referred to again.
            b'p' => {
                let key = self.key()?;
                self.remember(key)?;
            }
            b'q' => {
                let key = self.byte()?.into();
                self.remember(key)?;
            }
            b'r' => {
                let key = self.number(4)?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'g' => {
                let key = self.key()?;
                self.recall(key)?;
            }
            b'h' => {
                let key = self.byte()?.into();
                self.recall(key)?;
            }
            b'j' => {
                let key = self.number(4)?;
                self.recall(key)?;
            }
            other => bail!("{} is not what a list of pictures is made of", name_of(other)),
        }
        Ok(true)
    }

    /// The lists that are left when all is done.
    fn result(self) -> Result<Lists<'a>> {
        ensure!(self.at == self.bytes.len(), "{} bytes are behind its end", self.bytes.len() - self.at);
        let of = |value: &Value| match value {
            Value::Sequence(place) => Some(&self.sequences[*place]),
            _ => None,
        };
        let lists = match &self.stack[..] {
            [value] => of(value).filter(|parts| parts.len() == 2).and_then(|parts| of(&parts[0]).zip(of(&parts[1]))),
            _ => None,
        };
        let (pictures, same) = lists.context("it must be two lists: pictures as byte strings, and bools")?;
        let picture = |(place, value): (usize, &Value)| match value {
            Value::Bytes(at) => Ok(self.strings[*at].clone()),
            _ => bail!("picture {place} must be a byte string"),
        };
        let bool = |(place, value): (usize, &Value)| match value {
            Value::Bool(same) => Ok(*same),
            _ => bail!("pair {place} must be the same person or not, True or False"),
        };
        Ok(Lists {
            byte_strings: pictures.iter().enumerate().map(picture).collect::<Result<_>>()?,
            bools: same.iter().enumerate().map(bool).collect::<Result<_>>()?,
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..count).context("it is cut off")?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n').context("it is cut off")?;
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    /// The key of a memo as text.
    fn key(&mut self) -> Result<u64> {
        let line = self.line()?;
        lossy(line).parse().with_context(|| format!("{:?} is no place", lossy(line)))
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.values += 1;
        ensure!(self.values <= MOST_VALUES, "it has more than {MOST_VALUES} values");
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().context("nothing is left")
    }

    fn push_bool(&mut self, number: &[u8]) -> Result<()> {
        match number {
            b"00" | b"0" => self.push(Value::Bool(false)),
            b"01" | b"1" => self.push(Value::Bool(true)),
            other => bail!("a bool must be 0 or 1, got {:?}", lossy(other)),
        }
    }

    /// Bytes with their length, a number of so many bytes, before them.
    fn counted(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(usize::try_from(length).context("it is cut off")?)
    }

    fn push_bytes(&mut self, bytes: usize) -> Result<()> {
        let string = self.counted(bytes)?;
        self.push_string(Cow::Borrowed(string))
    }

    fn push_string(&mut self, string: Cow<'a, [u8]>) -> Result<()> {
        self.strings.push(string);
        self.push(Value::Bytes(self.strings.len() - 1))
    }

    fn push_text(&mut self, bytes: usize) -> Result<()> {
        let text = std::str::from_utf8(self.counted(bytes)?).context("a text that is not UTF-8")?;
        self.push_new_text(text.to_string())
    }

    fn push_new_text(&mut self, text: String) -> Result<()> {
        self.texts.push(text);
        self.push(Value::Text(self.texts.len() - 1))
    }

    /// A function that is asked for.
    fn function(&mut self, module: &str, name: &str) -> Result<()> {
        ensure!(
            (module, name) == ("_codecs", "encode"),
            "it asks for {module}.{name}, and nothing but lists of byte strings and bools is read"
        );
        self.push(Value::Encode)
    }

    /// `_codecs.encode(text, "latin1")`: a byte for every character.
    fn encoded(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let parts = match (function, arguments) {
            (Value::Encode, Value::Sequence(place)) => &self.sequences[place],
            _ => bail!("it calls what is no function"),
        };
        let &[Value::Text(text), Value::Text(codec)] = &parts[..] else {
            bail!("_codecs.encode must be given two texts");
        };
        let codec = &self.texts[codec];
        ensure!(codec == "latin1", "_codecs.encode must be given latin1, got {codec:?}");
        // Every text is encoded once, so that what is made of all of them is no longer than the file.
        self.encoded += self.texts[text].len();
        ensure!(self.encoded <= self.bytes.len(), "_codecs.encode makes more bytes than the file has");
        let bytes = self.texts[text].chars().map(|character| u8::try_from(u32::from(character)));
        let bytes = bytes.collect::<Result<Vec<u8>, _>>().context("a character that is no byte")?;
        self.push_string(Cow::Owned(bytes))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        let from = self.marks.pop().filter(|&from| from <= self.stack.len()).context("a part without a beginning")?;
        Ok(self.stack.split_off(from))
    }

    fn sequence(&mut self, parts: Vec<Value>) -> Result<()> {
        self.sequences.push(parts);
        self.push(Value::Sequence(self.sequences.len() - 1))
    }

    fn append(&mut self, parts: Vec<Value>) -> Result<()> {
        let Some(Value::Sequence(place)) = self.stack.last().copied() else {
            bail!("it appends to what is no list");
        };
        self.sequences[place].extend(parts);
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Result<()> {
        let value = self.stack.last().copied().context("nothing is there to be remembered")?;
        self.memo.insert(key, value);
        ensure!(self.memo.len() <= MOST_VALUES, "it has more than {MOST_VALUES} values");
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let value = self.memo.get(&key).copied().with_context(|| format!("nothing was remembered as {key}"))?;
        self.push(value)
    }
}

fn lossy(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| std::ascii::escape_default(byte)).map(char::from).collect()
}

/// A string as Python 2 writes it, in quotes and with escapes.
fn unescaped(line: &[u8]) -> Result<Vec<u8>> {
    let quoted = match line {
        [b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"'] => inside,
        _ => bail!("a string must be in quotes"),
    };
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(quote @ (b'\\' | b'\'' | b'"')) => quote,
            Some(b'x') => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit(), digit());
                let (high, low) = high.zip(low).context("\\x must be before two hexadecimal digits")?;
                (16 * high + low) as u8
            }
            _ => bail!("an escape that Python does not write"),
        });
    }
    Ok(bytes)
}

/// A text of protocol 0: Latin-1, with `\u000a` for what would end the line.
fn raw_unicode(line: &[u8]) -> Result<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if let (b'\\', [b'u', digits @ ..]) = (byte, behind) {
            let code = digits.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
            let code = code.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
            text.push(code.context("\\u must be before four hexadecimal digits")?);
            rest = &digits[4..];
        } else {
            text.push(char::from(*byte));
        }
    }
    Ok(text)
}

/// What `pickletools` calls an instruction.
fn name_of(instruction: u8) -> String {
    let name = match instruction {
        b'i' => "INST, which runs code,",
        b'o' => "OBJ, which runs code,",
        0x81 | 0x92 => "NEWOBJ, which runs code,",
        b'b' => "BUILD, which runs code,",
        b'P' | b'Q' => "PERSID, a name outside of the file,",
        0x82..=0x84 => "EXT, a name outside of the file,",
        b'd' | b'}' => "a dictionary",
        b's' | b'u' => "a part of a dictionary",
        0x8f..=0x91 => "a set",
        0x96..=0x98 => "a buffer",
        b'N' => "None",
        b'F' | b'G' => "a number with a point",
        b'J' | b'M' | b'L' | 0x8a | 0x8b => "a number",
        other => return format!("the instruction {other:#04x}"),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        format!("{:#}", byte_strings_and_bools(bytes).expect_err("it is refused"))
    }

    /// As Python 2.7 writes `(["a\n'\\", "\xff"], [True, False])`, by its `pickletools.dis`; and one string twice.
    #[test]
    fn lists_of_python_2_are_read() {
        let lists = |byte_strings: [&'static [u8]; 2], bools| Lists {
            byte_strings: byte_strings.map(Cow::from).to_vec(),
            bools,
        };
        let expected = lists([b"a\n'\\", b"\xff"], vec![true, false]);
        for bytes in [
            &b"((lp0\nS\"a\\n'\\\\\"\np1\naS'\\xff'\np2\na(lp3\nI01\naI00\natp4\n."[..],
            b"(]q\x00(U\x04a\n'\\q\x01U\x01\xffq\x02e]q\x03(I01\nI00\netq\x04.",
            b"\x80\x02]q\x00(U\x04a\n'\\q\x01T\x01\x00\x00\x00\xffq\x02e]q\x03(\x88\x89e\x86q\x04.",
        ] {
            assert_eq!(byte_strings_and_bools(bytes).unwrap(), expected);
        }
        let twice = byte_strings_and_bools(b"\x80\x02](U\x01aq\x01h\x01e]\x88a\x86.").unwrap();
        assert_eq!(twice, lists([b"a", b"a"], vec![true]));
    }

    /// Every byte of files in all forms, as every other byte: an answer or a message, and no panic.
    #[test]
    fn no_byte_of_a_file_stops_the_reader() {
        for file in [
            &b"((lp0\nS'\\xff\\n'\np1\nag1\na(lp3\nI01\natp4\n."[..],
            b"((lp0\nc_codecs\nencode\np1\n(V\\u000a\nVlatin1\np2\ntRp3\nag3\na(lp4\nI01\natp5\n.",
            b"\x80\x02]q\x00(U\x01aT\x01\x00\x00\x00bq\x01e]r\x02\x00\x00\x00\x88a\x86.",
            b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00]\x94(C\x01a\x94B\x01\x00\x00\x00b\x94e]\x94\x88a\x86\x94.",
        ] {
            byte_strings_and_bools(file).expect("it is whole");
            for place in 0..file.len() {
                for byte in 0..=u8::MAX {
                    let mut other = file.to_vec();
                    other[place] = byte;
                    if let Ok(lists) = byte_strings_and_bools(&other) {
                        assert!(lists.byte_strings.iter().all(|string| string.len() < file.len()));
                    }
                }
            }
        }
    }

    #[test]
    fn what_would_run_code_is_refused_by_name() {
        assert_eq!(
            message(b"cposix\nsystem\n(S'true'\ntR."),
            "byte 0: it asks for posix.system, and nothing but lists of byte strings and bools is read"
        );
        assert!(message(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.").contains("it asks for posix.system"));
        assert!(message(b"(S'true'\niposix\nsystem\n.").starts_with("byte 9: INST, which runs code, is not what"));
        assert!(message(b"\x80\x02]]\x81.").contains("NEWOBJ, which runs code,"));
        assert!(message(b"]]R.").contains("it calls what is no function"));
        assert!(message(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00rottR.").contains("given latin1, got"));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_refused() {
        let whole = b"\x80\x02](U\x01aU\x01be]\x88a\x86.";
        byte_strings_and_bools(whole).expect("it is whole");
        for length in 0..whole.len() {
            assert!(message(&whole[..length]).contains("it is cut off"), "{length}");
        }
        // A length that no file has.
        assert!(message(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffa").contains("it is cut off"));
        assert!(message(b"\x80\x02].a").contains("1 bytes are behind its end"));
        assert!(message(b"\x80\x06]").contains("the protocol must be in [0, 5], got 6"));
        assert!(message(b"].").contains("it must be two lists"));
        assert!(message(b"]\x88a]\x88a\x86.").contains("picture 0 must be a byte string"));
        assert!(message(b"](C\x01ae](C\x01ae\x86.").contains("pair 0 must be the same person or not"));
        for (instruction, name) in [(b'}', "a dictionary"), (b'N', "None"), (b'G', "a number with a point")] {
            assert!(message(&[b']', instruction]).starts_with(&format!("byte 1: {name} is not what")));
        }
        for broken in
            [&b"a"[..], b"e", b"t", b"h\x01", b"q\x01", b"\x85", b"R", b"S'a\n", b"S'\\q'\n", b"K\x02", b"](((]"]
        {
            byte_strings_and_bools(broken).expect_err("it is broken");
        }
        // A list that holds itself, and marks that what is taken off passes.
        assert!(message(b"]q\x00h\x00ah\x00a.").contains("picture 0 must be a byte string"));
        assert!(message(b"](]](a).").contains("it must be two lists"));
    }

    #[test]
    fn there_is_an_end_to_the_values() {
        let many = vec![0x88; MOST_VALUES + 1];
        assert!(message(&many).ends_with("it has more than 2097152 values"));
        // One text of a kilobyte, made into bytes over and over.
        let mut bytes = b"c_codecs\nencode\nq\x00X\x00\x04\x00\x00".to_vec();
        bytes.extend([b'a'; 1024]);
        bytes.extend(b"X\x06\x00\x00\x00latin1\x86q\x01R");
        (0..100).for_each(|_| bytes.extend(b"h\x00h\x01R"));
        assert!(message(&bytes).ends_with("_codecs.encode makes more bytes than the file has"));
    }
}
