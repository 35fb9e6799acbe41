//! The pages that memory is kept in.

/// Bytes from which on it pays: of more than this a processor doesn't remember where the pages are.
const LARGE: usize = 32 << 20;

/// Has the system keep `room` in large pages, if it is large and nothing was written there yet: rows that are read in any order
/// then don't wait for the addresses of their pages too.
///
/// Only speed depends on it. Only Linux can be asked; it may decline.
pub fn prefer_large_pages<T>(room: &mut [T]) {
    #[cfg(target_os = "linux")]
    if size_of_val(room) >= LARGE {
        use rustix::mm::{Advice, madvise};
        let first = room.as_mut_ptr().cast::<u8>();
        let before = first.align_offset(LARGEST_PAGE);
        let length = (size_of_val(room) - before) / LARGEST_PAGE * LARGEST_PAGE;
        // SAFETY: these are whole pages of `room`, which is larger than `before`; the advice leaves what is in them as it is.
        let _declined = unsafe { madvise(first.add(before).cast(), length, Advice::LinuxHugepage) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = room;
}

/// Bytes of the pages asked for on x86-64 and aarch64, and a multiple of the ordinary ones everywhere.
#[cfg(target_os = "linux")]
const LARGEST_PAGE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of the mapping that an address lies in.
    #[cfg(target_os = "linux")]
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux tells of a process's memory");
        let mut lines = maps.lines();
        let of_address = |line: &str| {
            let (from, rest) = line.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            let range = number(from)?..number(rest.split_once(' ')?.0)?;
            Some(range.contains(&address))
        };
        lines.find(|line| of_address(line) == Some(true)).expect("it is mapped");
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"));
        flags.expect("each mapping has flags").to_owned()
    }

    #[test]
    fn a_large_room_is_in_large_pages_and_holds_what_it_held() {
        let mut room = vec![0_u32; 3 * LARGE / 4];
        let (first, last) = (7, room.len() - 1);
        (room[first], room[last]) = (1, 2);
        prefer_large_pages(&mut room);
        assert_eq!((room[first], room[last], room.iter().sum::<u32>()), (1, 2, 3));
        #[cfg(target_os = "linux")]
        if std::fs::exists("/sys/kernel/mm/transparent_hugepage").is_ok_and(|has| has) {
            let middle = room[room.len() / 2..].as_ptr().addr();
            assert!(flags(middle).split(' ').any(|flag| flag == "hg"), "{}", flags(middle));
        }
        prefer_large_pages::<u32>(&mut []);
        prefer_large_pages(&mut [0.0; 3]);
    }
}
