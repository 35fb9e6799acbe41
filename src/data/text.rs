//! The bytes of a table as blocks of valid UTF-8: decoded, without byte order mark, free of NUL, lines counted.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult};

use super::encoding::{Encoding, read_full};

const BLOCK_BYTES: usize = 1 << 16;

/// Why the text ends before the bytes do.
#[derive(Debug)]
pub(crate) enum TextError {
    Io(io::Error),
    /// What the next bytes are that can't be part of a table.
    Fault(&'static str),
}

/// Text read block by block; everything before a fault is delivered before the fault is.
pub(crate) struct Text<R> {
    input: R,
    decoder: Option<Decoder>,
    /// Raw bytes; for UTF-8 the block itself is in here.
    raw: Vec<u8>,
    /// Bytes of `raw` that are used.
    filled: usize,
    decoded: String,
    /// Where the block starts and ends in `raw` or `decoded`.
    start: usize,
    end: usize,
    /// The next unread byte of the block.
    at: usize,
    state: State,
    lines: LineCount,
}

enum State {
    /// Nothing was read yet.
    New,
    Reading,
    /// The bytes, or the valid ones, end with this block.
    Last(Option<&'static str>),
}

/// Line breaks in the blocks before this one: `\n`, `\r\n` and a lone `\r` each are one.
#[derive(Clone, Copy, Default)]
struct LineCount {
    breaks: u64,
    after_cr: bool,
}

impl LineCount {
    fn with(self, bytes: &[u8]) -> Self {
        let Some(last) = bytes.last() else {
            return self;
        };
        let (lf, cr) = (count(bytes, b'\n'), count(bytes, b'\r'));
        let pairs = if cr == 0 {
            0
        } else {
            bytes.windows(2).filter(|pair| *pair == b"\r\n").count()
        };
        let split_pair = usize::from(self.after_cr && bytes[0] == b'\n');
        Self {
            breaks: self.breaks + (lf + cr - pairs - split_pair) as u64,
            after_cr: *last == b'\r',
        }
    }
}

/// How often a byte is there; in runs that an 8-bit counter can't overflow, which is what makes it fast.
fn count(bytes: &[u8], wanted: u8) -> usize {
    let in_run = |run: &[u8]| run.iter().map(|byte| u8::from(*byte == wanted)).sum::<u8>();
    bytes.chunks(255).map(|run| usize::from(in_run(run))).sum()
}

/// Line breaks in a text.
pub(crate) fn line_breaks(text: &[u8]) -> u64 {
    LineCount::default().with(text).breaks
}

impl<R: Read> Text<R> {
    pub(crate) fn new(input: R, encoding: Encoding) -> Self {
        let decoder = match encoding {
            Encoding::Utf8 => None,
            Encoding::EucKr => Some(encoding_rs::EUC_KR.new_decoder_without_bom_handling()),
        };
        Self {
            input,
            decoder,
            raw: vec![0; BLOCK_BYTES],
            filled: 0,
            decoded: String::new(),
            start: 0,
            end: 0,
            at: 0,
            state: State::New,
            lines: LineCount::default(),
        }
    }

    /// The bytes of the block that were not consumed yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.block()[self.at..]
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Where in its block the next unread byte is.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The line, from 1, of a byte of this block.
    pub(crate) fn line_of(&self, position: usize) -> u64 {
        self.lines.with(&self.block()[..position]).breaks + 1
    }

    /// Where the first byte that is no line break is, from a position in this block on.
    pub(crate) fn skip_breaks(&self, position: usize) -> Option<usize> {
        let rest = &self.block()[position..];
        let skipped = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        Some(position + skipped)
    }

    /// Goes to the next block when this one is used up; false at the end of the text.
    pub(crate) fn fill(&mut self) -> Result<bool, TextError> {
        while self.at == self.end - self.start {
            if let State::Last(fault) = self.state {
                return fault.map_or(Ok(false), |fault| Err(TextError::Fault(fault)));
            }
            self.lines = self.lines.with(self.block());
            self.next_block().map_err(TextError::Io)?;
        }
        Ok(true)
    }

    fn block(&self) -> &[u8] {
        match self.decoder {
            None => &self.raw[self.start..self.end],
            Some(_) => &self.decoded.as_bytes()[self.start..self.end],
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let kept = match self.decoder {
            // The start of a character that goes on in the next block.
            None => {
                self.raw.copy_within(self.end..self.filled, 0);
                self.filled - self.end
            }
            Some(_) => 0,
        };
        let read = read_full(&mut self.input, &mut self.raw[kept..])?;
        self.filled = kept + read;
        let mut start = 0;
        if let State::New = self.state {
            match byte_order_mark(&self.raw[..self.filled]) {
                Ok(skipped) => start = skipped,
                Err(fault) => {
                    (self.start, self.end, self.at) = (0, 0, 0);
                    self.state = State::Last(Some(fault));
                    return Ok(());
                }
            }
        }
        self.state = if self.filled < self.raw.len() {
            State::Last(None)
        } else {
            State::Reading
        };
        let fault = match self.decoder {
            None => self.validate(start),
            Some(_) => self.decode(start),
        };
        if fault.is_some() {
            self.state = State::Last(fault);
        }
        self.at = 0;
        if self.block().contains(&0) {
            let nul = self.block().iter().position(|byte| *byte == 0).unwrap_or(0);
            self.end = self.start + nul;
            self.state = State::Last(Some("NUL bytes; save the table as UTF-8 text"));
        }
        Ok(())
    }

    /// Makes the block of the valid part of `raw`.
    fn validate(&mut self, start: usize) -> Option<&'static str> {
        const FAULT: &str = "bytes that can't be read as UTF-8; save the table as UTF-8 or CP949";
        let (valid, broken) = match std::str::from_utf8(&self.raw[start..self.filled]) {
            Ok(text) => (text.len(), false),
            Err(error) => (error.valid_up_to(), error.error_len().is_some()),
        };
        (self.start, self.end) = (start, start + valid);
        let cut_off = matches!(self.state, State::Last(_)) && self.end < self.filled;
        (broken || cut_off).then_some(FAULT)
    }

    /// Makes the block of what `raw` decodes to.
    fn decode(&mut self, start: usize) -> Option<&'static str> {
        let raw = &self.raw[start..self.filled];
        let decoder = self.decoder.as_mut()?;
        let last = matches!(self.state, State::Last(_));
        self.decoded.clear();
        let needed = decoder
            .max_utf8_buffer_length_without_replacement(raw.len())
            .unwrap_or(4 * raw.len());
        self.decoded.reserve(needed);
        let (result, _) = decoder.decode_to_string_without_replacement(raw, &mut self.decoded, last);
        (self.start, self.end) = (0, self.decoded.len());
        match result {
            DecoderResult::InputEmpty => None,
            _ => Some("bytes that can't be read as CP949; save the table as UTF-8"),
        }
    }
}

/// Bytes of a UTF-8 mark to skip, or why a table with another mark is refused.
fn byte_order_mark(head: &[u8]) -> Result<usize, &'static str> {
    match head {
        [0xEF, 0xBB, 0xBF, ..] => Ok(3),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Err("bytes of UTF-16; save the table as UTF-8"),
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, its fault, and the line where it ended.
    fn read(bytes: &[u8], encoding: Encoding) -> (String, Option<&'static str>, u64) {
        let mut text = Text::new(bytes, encoding);
        let mut all = Vec::new();
        loop {
            match text.fill() {
                Ok(true) => {
                    all.extend_from_slice(text.unread());
                    text.consume(text.unread().len());
                }
                end => {
                    let fault = match end {
                        Err(TextError::Fault(fault)) => Some(fault),
                        Err(TextError::Io(error)) => panic!("{error}"),
                        Ok(_) => None,
                    };
                    return (String::from_utf8(all).unwrap(), fault, text.line_of(text.position()));
                }
            }
        }
    }

    #[test]
    fn characters_across_blocks_are_kept_whole_in_both_encodings() {
        for shift in 0..7 {
            let text = "x".repeat(shift) + &"꽃잎,길이\r\n".repeat(20_000);
            let utf8 = read(text.as_bytes(), Encoding::Utf8);
            assert_eq!(utf8, (text.clone(), None, 20_001));
            let cp949 = encoding_rs::EUC_KR.encode(&text).0;
            assert_eq!(read(&cp949, Encoding::EucKr), utf8);
        }
    }

    #[test]
    fn everything_before_a_fault_is_delivered() {
        for (bytes, before) in [
            (&b"a\nb\xff,c"[..], "a\nb"),
            (b"a\nb\0,c", "a\nb"),
            (b"a\nb\xec\x9e", "a\nb"),
            (b"\xff\xfea\0", ""),
            (b"\xfe\xff\0a", ""),
        ] {
            let (text, fault, line) = read(bytes, Encoding::Utf8);
            assert_eq!(text, before);
            assert!(fault.is_some());
            assert_eq!(line, 1 + before.matches('\n').count() as u64);
        }
        let (text, fault, _) = read(b"a\n\xb0\xa1\xff\xff", Encoding::EucKr);
        assert_eq!((text.as_str(), fault.is_some()), ("a\n가", true));
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(read(b"\xef\xbb\xbfa", Encoding::Utf8).0, "a");
        assert_eq!(read(b"", Encoding::Utf8).0, "");
        assert_eq!(read(b"\xef\xbb\xbf", Encoding::Utf8), (String::new(), None, 1));
    }

    #[test]
    fn every_kind_of_line_break_counts_once() {
        assert_eq!(line_breaks(b"a\nb\r\nc\rd\n\n\r\r\n"), 7);
        let split = LineCount::default().with(b"a\r").with(b"\nb\r").with(b"c\n");
        assert_eq!(split.breaks, 3);
    }
}
