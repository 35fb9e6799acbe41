//! UTF-8 or CP949: what a table is written in, found out from all of its bytes.

use std::io::{self, Read, Seek, SeekFrom};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};

use super::table_error::TableError;

const BLOCK_BYTES: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// EUC-KR with its superset CP949, which Excel writes in Korea.
    EucKr,
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::EucKr => "euc-kr",
        }
    }

    /// An encoding by one of its names, without regard to case.
    pub(crate) fn from_name(name: &str) -> Result<Self, TableError> {
        if ["cp949", "ms949", "uhc"]
            .iter()
            .any(|alias| alias.eq_ignore_ascii_case(name))
        {
            return Ok(Self::EucKr);
        }
        match encoding_rs::Encoding::for_label(name.as_bytes()) {
            Some(known) if known == encoding_rs::UTF_8 => Ok(Self::Utf8),
            Some(known) if known == encoding_rs::EUC_KR => Ok(Self::EucKr),
            _ => {
                let shown = crate::nn::spec::reader::shorten(name);
                let detail = format!("the encoding {shown:?} can't be read; send the table as utf-8 or cp949 (euc-kr)");
                Err(TableError::invalid(detail))
            }
        }
    }

    /// The encoding of the first bytes of a table; a character cut off at their end is no fault.
    pub(crate) fn of_head(head: &[u8]) -> Self {
        match std::str::from_utf8(head) {
            Err(error) if error.error_len().is_some() => guess(head),
            _ => Self::Utf8,
        }
    }

    /// The encoding of a whole table.
    ///
    /// UTF-8 is hardly ever valid by chance, so what is valid UTF-8 is UTF-8. The rest is CP949 where the statistics of
    /// its bytes say so; where they don't it counts as (broken) UTF-8, and reading it names the first wrong byte.
    pub(crate) fn of_content(input: &mut (impl Read + Seek)) -> io::Result<Self> {
        input.rewind()?;
        let Some(line) = first_line_not_utf8(input)? else {
            return Ok(Self::Utf8);
        };
        // The statistics are slow, and clear after a few words.
        input.seek(SeekFrom::Start(line))?;
        let mut block = vec![0; BLOCK_BYTES];
        let filled = read_full(input, &mut block)?;
        Ok(guess(&block[..filled]))
    }
}

/// The hint "kr" because Korean is the only legacy text accepted, and headers are short.
fn guess(bytes: &[u8]) -> Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    // Never the last: the bytes may end within a character.
    detector.feed(bytes, false);
    match detector.guess(Some(b"kr"), Utf8Detection::Deny) {
        guess if guess == encoding_rs::EUC_KR => Encoding::EucKr,
        _ => Encoding::Utf8,
    }
}

/// Where the first line starts that is not UTF-8.
fn first_line_not_utf8(input: &mut impl Read) -> io::Result<Option<u64>> {
    let mut block = vec![0; BLOCK_BYTES];
    let (mut kept, mut position, mut line) = (0, 0, 0);
    loop {
        let read = read_full(input, &mut block[kept..])?;
        let filled = kept + read;
        let (valid, broken) = match std::str::from_utf8(&block[..filled]) {
            Ok(_) => (filled, false),
            Err(error) => (error.valid_up_to(), error.error_len().is_some() || read == 0),
        };
        if let Some(line_break) = block[..valid].iter().rposition(|byte| *byte == b'\n') {
            line = position + line_break as u64 + 1;
        }
        if broken || read == 0 {
            return Ok(broken.then_some(line));
        }
        block.copy_within(valid..filled, 0);
        kept = filled - valid;
        position += valid as u64;
    }
}

/// Reads until the block is full or the input ends; how much was read.
pub(super) fn read_full(input: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match input.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn of(bytes: &[u8]) -> Encoding {
        let whole = Encoding::of_content(&mut Cursor::new(bytes)).unwrap();
        assert_eq!(whole, Encoding::of_head(bytes));
        whole
    }

    fn cp949(text: &str) -> Vec<u8> {
        encoding_rs::EUC_KR.encode(text).0.into_owned()
    }

    #[test]
    fn korean_is_told_apart_by_its_bytes() {
        for text in [
            "꽃잎길이,품종\n1,둘\n",
            "이름\n값\n",
            "번호,성별\n1,남\n2,여\n",
            "a,b\n1,똠방각하\n",
            "가\n1\n",
            "ID,도시\n1,서울\n",
        ] {
            assert_eq!(of(text.as_bytes()), Encoding::Utf8, "{text}");
            assert_eq!(of(&cp949(text)), Encoding::EucKr, "{text}");
        }
        assert_eq!(of(b"a,b\n1,2\n"), Encoding::Utf8);
    }

    #[test]
    fn western_text_is_not_taken_for_korean() {
        for text in ["größe;länge\n1;2\n", "prénom,âge\nRené,3\n", "año,niño\n1,2\n"] {
            let latin = encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
            assert_eq!(of(&latin), Encoding::Utf8, "{text}");
        }
    }

    #[test]
    fn korean_after_a_megabyte_of_ascii_decides() {
        let mut content = b"a,b\n".to_vec();
        content.extend(b"1,2\n".repeat(300_000));
        let mut utf8 = content.clone();
        content.extend(cp949("3,품종\n"));
        utf8.extend("3,품종\n".as_bytes());
        assert_eq!(of(&content), Encoding::EucKr);
        assert_eq!(of(&utf8), Encoding::Utf8);
    }

    #[test]
    fn names_are_known_without_regard_to_case() {
        for name in ["utf-8", "UTF8", "Utf-8"] {
            assert_eq!(Encoding::from_name(name).unwrap(), Encoding::Utf8);
        }
        for name in ["CP949", "euc-kr", "EUC-KR", "ks_c_5601-1987", "windows-949", "uhc"] {
            assert_eq!(Encoding::from_name(name).unwrap(), Encoding::EucKr);
        }
        assert!(Encoding::from_name("latin1").is_err());
    }

    #[test]
    fn a_character_across_two_blocks_is_valid() {
        for shift in 0..3 {
            let mut content = vec![b'\n'; BLOCK_BYTES - shift];
            content.extend("품종".as_bytes());
            assert_eq!(first_line_not_utf8(&mut content.as_slice()).unwrap(), None);
            content.pop();
            let line = (BLOCK_BYTES - shift) as u64;
            assert_eq!(
                first_line_not_utf8(&mut content.as_slice()).unwrap(),
                Some(line),
                "cut off at the end"
            );
        }
    }

    #[test]
    fn a_head_that_ends_within_a_character_is_no_fault() {
        let text = cp949("품종,길이\n");
        assert_eq!(Encoding::of_head(&text[..3]), Encoding::EucKr);
        assert_eq!(
            Encoding::of_head("품종".as_bytes().split_last().unwrap().1),
            Encoding::Utf8
        );
    }
}
