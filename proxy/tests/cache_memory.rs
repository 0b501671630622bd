//! The memory that the cache takes, at the allocator and at the operating system: its bound holds for responses of all
//! sizes, stored by one thread or by several.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use mimalloc::MiMalloc;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use weir::cache::copy::CopyBuffer;
use weir::cache::unless::Unless;
use weir::cache::{CacheKey, Coalescing, Config, ResponseCache, Scope};
use weir::clock;
use weir::system::memory;

const MIB: usize = 1 << 20;
const NOW: Duration = Duration::from_secs(1_790_000_000);
/// Large beside what the test itself holds, for example a copy for each thread.
const CACHE_BYTES: usize = 64 * MIB;
/// How often the cache is filled.
const FILLS: usize = 3;
/// It was 1.5 and more while each response had an allocation of its own size.
const RESIDENT_MAX: f64 = 1.08;
/// The bound is used: what is not allocated is the allocator's.
const ALLOCATED_MIN: f64 = 0.75;

/// The allocator of weir, which counts what it was asked for and has not got back.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call is passed on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = unsafe { MiMalloc.alloc(layout) };
        HELD.fetch_add(counted(block, layout.size()), Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let block = unsafe { MiMalloc.realloc(block, layout, size) };
        HELD.fetch_add(counted(block, size), Ordering::Relaxed);
        HELD.fetch_sub(counted(block, layout.size()), Ordering::Relaxed);
        block
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nothing if the allocation failed.
fn counted(block: *mut u8, bytes: usize) -> usize {
    match block.is_null() {
        true => 0,
        false => bytes,
    }
}

/// How large the responses are.
#[derive(Clone, Copy, Debug)]
enum Sizes {
    /// As many of 1 KiB as of 1 MiB.
    Uniform,
    /// As many between 100 B and 200 B as between 500 KiB and 1 MiB.
    Logarithmic,
    /// Most answers of assistants.
    Small,
    Same(usize),
}

impl Sizes {
    fn next(self, random: &mut StdRng) -> usize {
        match self {
            Sizes::Uniform => random.random_range(100..=MIB),
            Sizes::Logarithmic => (100.0 * (MIB as f64 / 100.0).powf(random.random())) as usize,
            Sizes::Small => random.random_range(100..8_000),
            Sizes::Same(bytes) => bytes,
        }
    }
}

/// Stores responses until they are `bytes` long together, each with a new key.
fn fill(cache: &ResponseCache, seed: u64, bytes: usize, sizes: Sizes) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut head = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("server", "assistant"),
    ] {
        head.insert(name, HeaderValue::from_static(value));
    }
    let piece = [b'x'; 20_000];
    let mut stored = 0;
    while stored < bytes {
        let size = sizes.next(&mut random);
        stored += size;
        head.remove(header::CONTENT_LENGTH);
        // Half of them announce their length.
        if random.random() {
            head.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        }
        let mut copy = CopyBuffer::new(200, &head, cache.response_bytes_max());
        let mut left = size;
        while left > 0 {
            let next = left.min(random.random_range(1..=piece.len()));
            copy.push(&piece[..next]);
            left -= next;
        }
        let mut key = [0; 32];
        random.fill(&mut key);
        let Some(stored) = copy.finish(NOW) else {
            panic!("it fits");
        };
        cache.store(CacheKey(key), stored, clock::now());
    }
}

/// What a cache that was filled takes, as shares of its bound.
#[derive(Debug)]
struct Shares {
    accounted: f64,
    allocated: f64,
    /// Grows by what the allocator cannot use.
    resident: f64,
}

fn filled(threads: usize, sizes: Sizes) -> Shares {
    memory::return_unused();
    let (held, resident) = (HELD.load(Ordering::Relaxed), memory::resident_bytes());
    let cache = ResponseCache::new(&Config {
        memory_bytes: CACHE_BYTES as u64,
        ttl: Duration::from_secs(3_600),
        scope: Scope::Route,
        ignore_headers: Vec::new(),
        ignore: Vec::new(),
        unless: Unless::default(),
        coalescing: Coalescing::Disabled,
    });
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let cache = &cache;
            scope.spawn(move || fill(cache, thread as u64, CACHE_BYTES * FILLS / threads, sizes));
        }
    });
    memory::return_unused();
    let share = |bytes: usize| bytes as f64 / CACHE_BYTES as f64;
    let resident_now = memory::resident_bytes();
    Shares {
        accounted: share(cache.bytes() as usize),
        allocated: share(HELD.load(Ordering::Relaxed) - held),
        resident: share(resident_now.saturating_sub(resident) as usize),
    }
}

/// One test: the counts are those of the process.
#[test]
fn the_bound_of_the_cache_holds_for_responses_of_all_sizes() {
    memory::disable_huge_pages();
    for threads in [1, 4] {
        for sizes in [
            Sizes::Same(600),
            Sizes::Small,
            Sizes::Logarithmic,
            Sizes::Uniform,
        ] {
            let shares = filled(threads, sizes);
            println!("{sizes:?}, {threads} threads: {shares:.3?}");
            let holds = shares.accounted <= 1.0
                && shares.allocated <= 1.05
                && shares.resident <= RESIDENT_MAX;
            assert!(holds, "{sizes:?}, {threads} threads: {shares:.3?}");
            assert!(shares.allocated >= ALLOCATED_MIN, "{sizes:?}: {shares:.3?}");
        }
    }
}
