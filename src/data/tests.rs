//! Whatever the bytes: a fault with its place, or a table that is read the same way every time.
//!
//! Seeds are broken at random. `PROPTEST_CASES=1000000 cargo test --release data::tests` does so for longer.

use std::io::Cursor;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::profile::{Column, Limits, Profile, profile};
use super::source::SourceRequest;
use super::table::{MISSING, Table, UNSEEN, Values, preview};
use super::table_error::TableError;

const SEEDS: [&[u8]; 8] = [
    "꽃잎길이,폭,품종\n5.1,3.5,setosa\n4.9,NA,virginica\n,3e-1,\"a \"\"b\"\"\nc\"\n".as_bytes(),
    b"\xef\xbb\xbfa;b\r\n1,5;x\r\n2;\"y;z\"\r\n",
    b"a\tb\r1\tinf\r-2.5\tnan\r",
    // CP949
    b"\xb2\xc9\xc0\xd9,\xc7\xb0\xc1\xbe\n1,\xb5\xd1\n2,\xc7\xce\n",
    b"{\"a\": 1, \"b\": \"x\"}\n{\"b\": null, \"c\": true}\n{\"a\": -1e-3, \"c\": \"2\"}\n",
    b"only\n1\n2\n\"\"\nthree\n",
    b"a|b|a2\n00012|1e39|+7\nx|y|.5\n",
    b"n,w\n340282346638528859811704183484516925440,1\n1e-45,0\n",
];

/// What tends to break parsers.
const TOKENS: [&[u8]; 20] = [
    b"\"",
    b"\"\"",
    b",",
    b";",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc7",
    b"{",
    b"}",
    b"[",
    b":",
    b"1e999",
    b"-",
    b"nan",
    b" ",
    b"\\ud800",
    b"\xef\xbb\xbf",
];

#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Insert(Index, &'static [u8]),
    Cut(Index, Index),
    Repeat(Index, Index),
}

impl Damage {
    fn on(&self, content: &mut Vec<u8>) {
        let place = |index: &Index, content: &[u8]| index.index(content.len() + 1);
        match self {
            Self::Flip(index, bits) if !content.is_empty() => {
                let place = index.index(content.len());
                content[place] ^= bits;
            }
            Self::Flip(..) => {}
            Self::Insert(index, token) => {
                let place = place(index, content);
                content.splice(place..place, token.iter().copied());
            }
            Self::Cut(from, to) => {
                let (from, to) = (place(from, content), place(to, content));
                content.drain(from.min(to)..from.max(to));
            }
            Self::Repeat(from, to) => {
                let (from, to) = (place(from, content), place(to, content));
                let part = content[from.min(to)..from.max(to)].to_vec();
                content.extend(part);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(index, bits)| Damage::Flip(index, bits)),
        (any::<Index>(), select(TOKENS.to_vec())).prop_map(|(index, token)| Damage::Insert(index, token)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Cut(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn check(content: &[u8], limits: &Limits) -> Result<(), TestCaseError> {
    match profile(Cursor::new(content), &SourceRequest::default(), limits) {
        Ok(profile) => check_table(content, &profile),
        Err(TableError::Invalid(fault)) => {
            prop_assert!(fault.line.is_some_and(|line| line > 0) && fault.column.is_some_and(|column| column > 0));
            prop_assert!(!fault.detail.is_empty() && fault.detail.len() < 400);
            Ok(())
        }
        Err(TableError::Io(error)) => Err(TestCaseError::fail(error.to_string())),
    }
}

fn check_table(content: &[u8], profile: &Profile) -> Result<(), TestCaseError> {
    let Profile { rows, source, columns } = profile;
    let failed = |error: TableError| TestCaseError::fail(error.to_string());
    let names: Vec<&str> = columns.iter().map(Column::name).collect();
    let table = Table::read(content, source, columns, &names).map_err(failed)?;
    prop_assert_eq!(table.rows as u64, *rows);
    prop_assert_eq!(
        preview(content, source, columns, 0, 1_000_000).map_err(failed)?.len() as u64,
        *rows
    );
    for (column, read) in columns.iter().zip(&table.columns) {
        match (column, &read.values) {
            (Column::Number(column), Values::Number(numbers)) => {
                let missing = numbers.iter().filter(|number| number.is_nan()).count();
                prop_assert_eq!(missing as u64, column.missing);
                prop_assert!(numbers.iter().all(|number| !number.is_infinite()));
                let figures = [column.min, column.mean, column.max];
                prop_assert!(
                    figures
                        .iter()
                        .all(|figure| figure.is_some() == (column.missing < *rows))
                );
                prop_assert!(
                    figures
                        .iter()
                        .chain([&column.std])
                        .flatten()
                        .all(|figure| figure.is_finite())
                );
                prop_assert!(figures.is_sorted(), "{:?}", figures);
            }
            (Column::Category(column), Values::Category { codes, categories }) => {
                prop_assert_eq!(
                    codes.iter().filter(|code| **code == MISSING).count() as u64,
                    column.missing
                );
                prop_assert!(codes.iter().all(|code| *code != UNSEEN));
                prop_assert_eq!(column.distinct, Some(categories.len() as u64));
                let counted: u64 = column.categories.iter().map(|category| category.count).sum();
                prop_assert_eq!(counted + column.missing, *rows);
                prop_assert!(categories.is_sorted());
            }
            (column, values) => return Err(TestCaseError::fail(format!("{column:?} was read as {values:?}"))),
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn damaged_tables_are_refused_with_a_place_or_read_consistently(
        seed in select(SEEDS.to_vec()),
        damages in proptest::collection::vec(damage(), 0..6),
    ) {
        let mut content = seed.to_vec();
        damages.iter().for_each(|damage| damage.on(&mut content));
        check(&content, &Limits::default())?;
        check(&content, &Limits { rows: 2, columns: 2, field_bytes: 4 })?;
    }

    #[test]
    fn any_bytes_are_refused_with_a_place_or_read_consistently(content: Vec<u8>) {
        check(&content, &Limits::default())?;
    }
}
