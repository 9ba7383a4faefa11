/* What a few tokens of each text see of the text, in float32.

   A text's keys and values are read from memory once for all its tokens and query heads: block by block, so that a block
   and its scores stay in the nearest cache (online softmax: Milakov and Gimelshein 2018, arXiv:1805.02867).

   Vectors are gcc's. The OpenMP runtime is the one that torch has loaded: two of them would fight for the cores. */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 8, PARTS = 8, BLOCK = 64, QUERIES = 32 };

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t places __attribute__((vector_size(4 * LANES)));

/* Of stores (slots, heads, capacity, size), new keys and values (tokens, heads, size), queries (tokens, heads, share, size). */
struct layout {
    int64_t heads, share, size, capacity;
    int64_t most; /* tokens of a piece that are attended to; of longer ones, keys and values are stored */
    int64_t window; /* tokens that a token sees, itself included */
    float scale;
};

/* `count` tokens of the text in `slot`, from its token `start` on; the first of them is token `first` of the queries. */
struct piece {
    int64_t slot, start, count, first;
};

/* e^x for x <= 0, to two units in the last place (Cody and Waite's reduction); branchless, to be made vectors of. */
static inline float power(float x)
{
    x = x < -87.0f ? -87.0f : x;
    float whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float found = 1.0f / 720;
    found = found * rest + 1.0f / 120;
    found = found * rest + 1.0f / 24;
    found = found * rest + 1.0f / 6;
    found = found * rest + 1.0f / 2;
    found = found * rest + 1;
    found = found * rest + 1;
    int32_t bits = ((int32_t)whole + 127) << 23;
    float two;
    memcpy(&two, &bits, sizeof two);
    return found * two;
}

/* The sum of each of eight vectors: halves, then pairs, then neighbours are added. */
static inline lanes sums(const lanes each[LANES])
{
    const places halves = {0, 1, 2, 3, 8, 9, 10, 11}, pairs = {0, 1, 8, 9, 4, 5, 12, 13}, even = {0, 2, 8, 10, 4, 6, 12, 14};
    lanes four[4], two[2];
    for (int i = 0; i < 4; i++)
        four[i] = __builtin_shuffle(each[i], each[i + 4], halves) + __builtin_shuffle(each[i], each[i + 4], halves + 4);
    for (int i = 0; i < 2; i++) {
        const lanes *of = four + 2 * i;
        two[i] = __builtin_shuffle(of[0], of[1], pairs) + __builtin_shuffle(of[0], of[1], pairs + 2);
    }
    return __builtin_shuffle(two[0], two[1], even) + __builtin_shuffle(two[0], two[1], even + 1);
}

/* Scores of at most BLOCK keys; room for LANES - 1 more is used. */
static inline __attribute__((always_inline)) void score(
    const float *query, const float *keys, int64_t count, int64_t size, float scale, float *scores)
{
    for (int64_t key = 0; key < count; key += LANES) {
        const float *of[LANES];
        lanes added[LANES];
        for (int i = 0; i < LANES; i++) {
            of[i] = keys + (key + i < count ? key + i : count - 1) * size;
            added[i] = (lanes){0};
        }
        for (int64_t at = 0; at < size; at += LANES)
            for (int i = 0; i < LANES; i++)
                added[i] += *(const lanes *)(query + at) * *(const lanes *)(of[i] + at);
        *(lanes *)(scores + key) = sums(added) * scale;
    }
}

/* Adds weighted values to what was seen, of which `kept` stays. */
static inline __attribute__((always_inline)) void add(
    const float *weights, const float *values, int64_t count, int64_t size, float kept, float *seen)
{
    for (int64_t at = 0; at < size; at += PARTS * LANES) {
        int64_t parts = size - at < PARTS * LANES ? (size - at) / LANES : PARTS;
        lanes found[PARTS];
        for (int i = 0; i < parts; i++)
            found[i] = *(const lanes *)(seen + at + i * LANES) * kept;
        for (int64_t key = 0; key < count; key++)
            for (int i = 0; i < parts; i++)
                found[i] += weights[key] * *(const lanes *)(values + key * size + at + i * LANES);
        for (int i = 0; i < parts; i++)
            *(lanes *)(seen + at + i * LANES) = found[i];
    }
}

/* A query and what it has seen so far: weights are e^(score - largest), and `sum` is theirs. */
struct state {
    float largest, sum;
};

static inline __attribute__((always_inline)) void see_block(
    const float *query, const float *keys, const float *values, int64_t count, int64_t size, float scale,
    struct state *state, float *seen)
{
    float scores[BLOCK], largest = state->largest, sum = 0;
    score(query, keys, count, size, scale, scores);
    for (int64_t key = 0; key < count; key++)
        largest = scores[key] > largest ? scores[key] : largest;
    #pragma omp simd reduction(+ : sum)
    for (int64_t key = 0; key < count; key++) {
        scores[key] = power(scores[key] - largest);
        sum += scores[key];
    }
    float kept = power(state->largest - largest);
    *state = (struct state){largest, state->sum * kept + sum};
    add(scores, values, count, size, kept, seen);
}

/* What queries `begin` to `end` of a piece see, numbered token by token, heads of a token beside each other. */
static inline __attribute__((always_inline)) void see_queries(
    const float *queries, const float *keys, const float *values, float *seen,
    struct layout layout, struct piece piece, int64_t head, int64_t begin, int64_t end, int64_t size)
{
    const int64_t share = layout.share, window = layout.window;
    struct state states[QUERIES];
    int64_t at[QUERIES];
    for (int64_t each = begin; each < end; each++) {
        at[each - begin] = (((piece.first + each / share) * layout.heads + head) * share + each % share) * size;
        states[each - begin] = (struct state){-INFINITY, 0};
        memset(seen + at[each - begin], 0, size * sizeof(float));
    }
    int64_t first = piece.start + begin / share + 1 - window, last = piece.start + (end - 1) / share + 1;
    for (int64_t block = first > 0 ? first : 0; block < last; block += BLOCK)
        for (int64_t each = begin; each < end; each++) {
            int64_t to = piece.start + each / share + 1;
            int64_t from = to - window > block ? to - window : block;
            to = to < block + BLOCK ? to : block + BLOCK;
            if (from < to)
                see_block(queries + at[each - begin], keys + from * size, values + from * size, to - from, size,
                          layout.scale, states + each - begin, seen + at[each - begin]);
        }
    for (int64_t each = begin; each < end; each++)
        for (int64_t i = 0; i < size; i++)
            seen[at[each - begin] + i] /= states[each - begin].sum;
}

static inline __attribute__((always_inline)) void see(
    const float *queries, const float *keys, const float *values, float *seen,
    struct layout layout, struct piece piece, int64_t head, int64_t size)
{
    const int64_t every = piece.count * layout.share;
    for (int64_t begin = 0; begin < every; begin += QUERIES)
        see_queries(queries, keys, values, seen, layout, piece, head, begin,
                    begin + QUERIES < every ? begin + QUERIES : every, size);
}

/* Stores what is new at its place; texts have their own slots, so that each may be stored and seen by itself. */
static inline void store(const float *added, float *slab, struct layout layout, struct piece piece, int64_t head)
{
    for (int64_t token = 0; token < piece.count; token++)
        memcpy(slab + (piece.start + token) * layout.size,
               added + ((piece.first + token) * layout.heads + head) * layout.size, layout.size * sizeof(float));
}

/* Stores new keys and values, and writes what is seen to `seen`, which is like `queries`.

   Sizes are multiples of LANES; usual ones are known to the compiler. */
void attend(const float *queries, const float *new_keys, const float *new_values, float *keys, float *values, float *seen,
            const struct piece *pieces, int64_t count, struct layout layout)
{
    #pragma omp parallel for schedule(dynamic)
    for (int64_t each = 0; each < count * layout.heads; each++) {
        const struct piece piece = pieces[each / layout.heads];
        const int64_t head = each % layout.heads;
        const int64_t slab = (piece.slot * layout.heads + head) * layout.capacity * layout.size;
        store(new_keys, keys + slab, layout, piece, head);
        store(new_values, values + slab, layout, piece, head);
        if (piece.count > layout.most)
            continue;
        switch (layout.size) {
        case 64:
            see(queries, keys + slab, values + slab, seen, layout, piece, head, 64);
            break;
        case 128:
            see(queries, keys + slab, values + slab, seen, layout, piece, head, 128);
            break;
        case 256:
            see(queries, keys + slab, values + slab, seen, layout, piece, head, 256);
            break;
        default:
            see(queries, keys + slab, values + slab, seen, layout, piece, head, layout.size);
        }
    }
}
