"""Vietnamese personal names with the frequencies people really have: family name, middle names, given name.

Where the shares come from:

- Family names: Lê Trung Hòa, "Họ và tên người Việt Nam" (2005), as every encyclopaedia quotes it: Nguyễn 38.4 %, Trần
  11 %, Lê 9.5 %, Phạm 7.1 %, Hoàng/Huỳnh 5.1 %, Phan 4.5 %, Vũ/Võ 3.9 %, Đặng 2.1 %, Bùi 2 %, Đỗ 1.4 %, Hồ 1.3 %, Ngô
  1.3 %, Dương 1 %, Lý 0.5 %. The forms Hoàng and Võ are those of Hà Tĩnh. The remaining tenth is shared among the
  next 28 names.
- Given names of those born 1975–2002: hoten.org, sample DKL01 (207,000 names, born 1991–2002); of those born later:
  hoten.org, sample SG01 (born 2007–2011), there also the middle names (Thị and Ngọc 17 % each among girls, Văn under
  3 % among boys, two middle names for 65 % of girls and 26 % of boys). For those born before 1975 no sample is
  published: that list is common knowledge (Thị for most women, Văn for most men).

Not for guessing anybody's sex or age from a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Weights = Mapping[str, float]


def _parsed(text: str) -> dict[str, float]:
    """`"Anh 7.1 Thị_Thu 5 …"`: names and weights in turn, an underscore joins two words."""
    words = text.split()
    return {name.replace("_", " "): float(weight) for name, weight in zip(words[::2], words[1::2], strict=True)}


FAMILY_NAMES: Weights = _parsed("""Nguyễn 38.4 Trần 11 Lê 9.5 Phạm 7.1 Hoàng 4.6 Huỳnh 0.5 Phan 4.5 Võ 2.6 Vũ 1.3
Đặng 2.1 Bùi 2 Đỗ 1.4 Hồ 1.3 Ngô 1.3 Dương 1 Lý 0.5""") | dict.fromkeys(
    """Đinh Đào Trịnh Phùng Đoàn Hà Trương Lưu Mai Tạ Lương Cao Thái Chu Tô Đậu Từ Biện Thân Kiều Tống Đồng Nghiêm
    Bạch Lâm Văn Uông Cù""".split(),  # noqa: SIM905 -- words, not a table
    10.9 / 28,
)

# Cohorts by year of birth: each begins where the one before ends.
COHORT_STARTS = (0, 1975, 2003)

# [cohort][sex], sex 0 male and 1 female
_MIDDLE: tuple[tuple[Weights, Weights], ...] = (
    (
        _parsed("""Văn 48 Đình 7 Xuân 6 Hữu 6 Đức 6 Quang 5 Ngọc 4 Công 4 Viết 3 Trọng 3 Bá 3 Sỹ 2 Duy 2 Hồng 1.5
        Minh 1.5 Thanh 1.5 Quốc 1.5 Khắc 1 Tiến 1 Danh 1 Huy 0.5 Nhật 0.5"""),
        _parsed("""Thị 74 Thị_Kim 2 Thị_Thanh 3 Thị_Hồng 3 Thị_Xuân 2 Thị_Minh 2 Thị_Ngọc 2 Thị_Bích 1 Thị_Thu 2
        Thị_Lệ 1 Thị_Phương 1 Kim 1 Thanh 1 Hồng 1 Xuân 1 Minh 1 Ngọc 1"""),
    ),
    (
        _parsed("""Văn 24 Đình 7 Xuân 5 Hữu 5 Đức 7 Quang 5 Ngọc 4 Công 4 Viết 2 Trọng 3 Bá 2 Sỹ 2 Duy 3 Hồng 2 Minh 4
        Thanh 3 Quốc 4 Khắc 1 Tiến 2 Danh 1 Huy 1 Anh 3 Hoàng 3 Mạnh 2 Thế 1 Tuấn 1"""),
        _parsed("""Thị 42 Thị_Thu 6 Thị_Thanh 5 Thị_Hồng 4 Thị_Ngọc 4 Thị_Kim 2 Thị_Phương 4 Thị_Minh 2 Thị_Hoài 3
        Thị_Mỹ 2 Thị_Thùy 3 Thị_Bích 1 Thị_Cẩm 1 Thị_Diệu 1 Thị_Lan 1 Thị_Huyền 1 Thị_Khánh 1 Thị_Quỳnh 1
        Thu 2 Thanh 2 Ngọc 2 Phương 2 Minh 1 Hoài 1 Thùy 1 Khánh 1 Quỳnh 1"""),
    ),
    (
        _parsed("""Văn 2.9 Minh 8 Gia 8 Hoàng 6 Quốc 5 Anh 5 Đức 5 Đăng 3 Nhật 4 Tuấn 4 Bảo 3 Thanh 3 Trung 2 Thành 2
        Quang 4 Duy 3 Hữu 3 Đình 3 Ngọc 2 Công 2 Xuân 2 Tiến 2 Huy 1 Mạnh 1 Nguyễn_Minh 2 Nguyễn_Gia 2
        Trần_Minh 1 Lê_Minh 1 Nguyễn_Hoàng 1 Nguyễn_Anh 1 Lê_Gia 1 Trần_Bảo 1 Hoàng_Minh 1 Hoàng_Gia 1
        Phan_Nhật 1 Nguyễn_Đức 1 Lê_Quốc 1"""),
        _parsed("""Thị 5 Thị_Ngọc 3 Thị_Thanh 2 Thị_Phương 2 Thị_Khánh 2 Thị_Quỳnh 1 Thị_Hà 2 Ngọc 8 Khánh 4 Phương 4
        Bảo 4 Hà 3 Quỳnh 3 Thanh 3 Minh 3 Gia 2 Thùy 2 Ngọc_Bảo 4 Ngọc_Khánh 3 Ngọc_Phương 3 Ngọc_Quỳnh 3
        Ngọc_Minh 2 Nguyễn_Ngọc 3 Nguyễn_Phương 3 Nguyễn_Khánh 3 Nguyễn_Bảo 2 Trần_Khánh 2 Trần_Bảo 2
        Lê_Phương 2 Lê_Khánh 2 Lê_Bảo 2 Hoàng_Ngọc 2 Hoàng_Bảo 1 Phan_Quỳnh 1"""),
    ),
)
_GIVEN: tuple[tuple[Weights, Weights], ...] = (
    (
        _parsed("""Hùng 3 Dũng 3 Sơn 3 Bình 2.5 Minh 2.5 Thanh 2.5 Hải 2.5 Long 2 Hòa 2 Lâm 2 Tuấn 2 Thắng 2 Đức 2
        Quang 2 Châu 1.5 Hồng 1.5 Ngọc 1.5 Tiến 1.5 Lộc 1.5 Phúc 1.5 Thọ 1.5 Vinh 1.5 Hiền 1 Nam 1.5 An 1
        Ba 0.5 Cảnh 1 Chiến 1.5 Chính 1 Cường 1.5 Đồng 1 Hà 1 Hoàn 1 Hợi 0.5 Khang 0.7 Khánh 1 Kỳ 0.7
        Liêm 0.7 Lương 1 Lý 0.7 Mai 0.4 Mậu 0.5 Nghĩa 1 Nhân 1 Nhung 0.2 Phú 1 Phương 1 Quý 1 Sáu 0.5 Tâm 1
        Tân 1 Thái 1.5 Thành 2 Thảo 0.7 Thi 0.5 Thiện 1 Thìn 0.7 Thuận 1 Tín 0.7 Toàn 1 Tôn 0.3 Trung 1.5
        Trường 1 Tường 0.7 Tý 0.7 Việt 1 Xuân 1 Yên 0.5"""),
        _parsed("""Hoa 3 Lan 3 Hương 2.5 Hồng 2.5 Liên 2.5 Thanh 2.5 Hà 2 Hòa 2 Bình 2 Minh 2 Nga 2 Loan 2 Hiền 2 Vân 2
        Tâm 2 Mai 2 Xuân 2 Thủy 2 Lý 1.5 Sửu 0.5 Hường 1.5 Hằng 1.5 Huệ 1.5 Cúc 1.5 Đào 1 Lài 0.7 Lương 1
        Mận 0.5 Nhung 1 Nhàn 1.5 Oanh 1 Phượng 1 Phương 1 Quế 1 Quý 1 Sen 1 Tam 0.7 Thắm 1 Thân 0.7 Thảo 0.7
        Thìn 0.7 Thu 1.5 Thuận 1 Tình 1 Tứ 0.7 Tuyết 1.5 Vinh 1 Yến 0.7 Bảy 0.5 Chắt 0.5 Em 0.5 Hợi 0.5
        Khuyên 0.5 Lành 0.7 Năm 0.5 Ngọ 0.5 Nguyệt 1 Thơ 0.5 Thơm 0.5 Tân 0.7 Anh 1 Lam 0.5"""),
    ),
    (
        _parsed("""Tuấn 2.711 Hoàng 2.461 Huy 2.225 Anh 2.05 Hiếu 1.994 Hùng 1.981 Nam 1.975 Sơn 1.902 Đức 1.884
        Dũng 1.699 Thành 1.618 Đạt 1.56 Cường 1.56 Long 1.55 Trung 1.549 Hải 1.419 Nguyên 1.401 Thắng 1.399
        Minh 1.312 Duy 1.154 Tiến 1.142 Quang 1.114 Phúc 1.048 Trường 1.017 Tài 1.007 Toàn 0.981 Hưng 0.924
        Phong 0.909 Tùng 0.894 Linh 0.866 Khánh 0.861 Bảo 0.858 Quân 0.825 Dương 0.79 Nghĩa 0.777 Lâm 0.776
        Vinh 0.766 Bình 0.764 Mạnh 0.751 Việt 0.704 Thịnh 0.683 Hòa 0.683 Tâm 0.658 Hiệp 0.65 Tân 0.645
        Phú 0.643 Phương 0.635 Thiện 0.623 Thái 0.615 Nhật 0.599 Công 0.594 Sang 0.589 Hậu 0.578 Quý 0.567
        An 0.565 Quốc 0.547 Ngọc 0.535 Nhân 0.53 Kiên 0.487 Lộc 0.478 Thanh 0.478 Thuận 0.476 Chiến 0.475
        Trọng 0.452 Giang 0.414 Đại 0.372 Đông 0.346 Chung 0.332 Lợi 0.301 Quyền 0.292 Hoàn 0.243 Thọ 0.24
        Lực 0.233 Quyết 0.23 Cảnh 0.214"""),
        _parsed("""Trang 4.193 Thảo 3.518 Linh 3.023 Anh 2.462 Phương 2.197 Hằng 2.139 Huyền 2.106 Hà 2.071 Hiền 2.03
        Hương 1.719 Ngọc 1.717 Dung 1.697 Nhung 1.685 Thủy 1.648 Nhi 1.622 Duyên 1.554 Vân 1.495 Quỳnh 1.494
        Nga 1.487 Yến 1.477 Trinh 1.464 Thương 1.34 Uyên 1.336 Hạnh 1.305 Ngân 1.217 Oanh 1.192 Trâm 1.162
        Ly 1.156 Mai 1.146 Phượng 1.086 Thúy 1.08 Hoa 1.021 Vy 1.018 Hồng 0.993 Tâm 0.961 Thu 0.943 My 0.942
        Giang 0.928 Loan 0.919 Thanh 0.884 Ánh 0.838 Lan 0.835 Quyên 0.796 Chi 0.795 Thư 0.744 Thùy 0.688
        Huệ 0.687 Nguyệt 0.674 Như 0.665 Tuyết 0.635 Liên 0.598 Hòa 0.562 Hường 0.557 Hoài 0.532 Kiều 0.514
        Lệ 0.506 Xuân 0.468 Thắm 0.464 Diệu 0.399 Sương 0.383 An 0.377 Bình 0.366 Châu 0.342 Hậu 0.323
        Nhàn 0.313 Trà 0.196"""),
    ),
    (
        _parsed("""Anh 4.5 Huy 4 Khang 3.8 Bảo 3.6 Minh 3.2 Phúc 3 Khoa 2.5 Đạt 2.4 Khôi 2.2 Long 2.1 Nam 2 Quân 2
        Duy 1.9 Nhân 1.7 Thịnh 1.7 Hoàng 1.7 Kiệt 1.6 Hưng 1.6 Phát 1.5 Khánh 1.5 Nguyên 1.5 Hiếu 1.4
        Đức 1.4 Sơn 1.3 Hải 1.2 Phong 1.2 Dũng 1.2 Tuấn 1.2 Lâm 1.2 Quang 1.1 Thành 1.1 Trung 1 Tài 1 Việt 1
        An 1 Đăng 0.9 Vinh 0.9 Trí 0.9 Tùng 0.8 Thiên 0.8 Bình 0.6 Cường 0.6 Dương 0.8 Gia 0.3 Mạnh 0.5
        Nhật 0.6 Thắng 0.6 Tiến 0.6 Toàn 0.5 Trọng 0.4"""),
        _parsed("""Anh 7.1 Vy 5.7 Ngọc 4.3 Nhi 4.2 Hân 4.1 Thư 4.1 Linh 3.5 Như 3.1 Ngân 3 Phương 2.1 Thảo 2.1 My 2.1
        Trân 1.8 Quỳnh 1.8 Nghi 1.7 Trang 1.7 Trâm 1.6 An 1.6 Thy 1.5 Châu 1.5 Trúc 1.5 Uyên 1.4 Yến 1.4
        Ý 1.2 Tiên 1.1 Mai 1.1 Hà 1 Vân 1 Nguyên 0.93 Hương 0.89 Quyên 0.78 Duyên 0.77 Kim 0.76 Trinh 0.75
        Thanh 0.75 Tuyền 0.72 Hằng 0.72 Dương 0.68 Chi 0.64 Giang 0.63 Tâm 0.62 Lam 0.61 Ánh 0.55 Hiền 0.55
        Khánh 0.5 Huyền 0.5 Diệp 0.4"""),
    ),
)


@cache
def _vocabulary(part: str) -> tuple[pl.Series, dict[str, int]]:
    tables = {"family": ((FAMILY_NAMES,),), "middle": _MIDDLE, "given": _GIVEN}[part]
    words = list(dict.fromkeys(word for cohort in tables for table in cohort for word in table))
    return pl.Series(part, words), {word: place for place, word in enumerate(words)}


def draw(rng: np.random.Generator, weights: npt.ArrayLike, size: int) -> Ints:
    """`size` places in `weights`, each as often as its weight says."""
    bounds = np.cumsum(np.asarray(weights, dtype=float))
    places: Ints = np.searchsorted(bounds, rng.random(size) * bounds[-1], side="right").astype(np.int64)
    return places


def draw_families(rng: np.random.Generator, size: int) -> Ints:
    """Places in FAMILY_NAMES."""
    return draw(rng, list(FAMILY_NAMES.values()), size)


def full_names(rng: np.random.Generator, families: Ints, female: Bools, birth_years: Ints) -> pl.Series:
    """One name per person, e.g. "Nguyễn Thị Thu Hà"; `families` as draw_families gives them.

    The arrays have one entry per person. A given name never repeats the last middle name.
    """
    size = len(families)
    middle, given = np.zeros(size, np.int64), np.zeros(size, np.int64)
    cohort = np.searchsorted(np.asarray(COHORT_STARTS), birth_years, side="right") - 1
    groups = [
        (np.flatnonzero((cohort == number) & (female == bool(sex))), number, sex)
        for number in range(len(COHORT_STARTS))
        for sex in (0, 1)
    ]
    for members, number, sex in groups:
        middle[members] = _draw_words(rng, "middle", _MIDDLE[number][sex], len(members))
    last_of_middle = _last_words()[middle]
    for members, number, sex in groups:
        again = members
        while len(again):
            given[again] = _draw_words(rng, "given", _GIVEN[number][sex], len(again))
            again = again[given[again] == last_of_middle[again]]
    words = pl.select(
        pl.concat_str(
            _vocabulary("family")[0].gather(families),
            _vocabulary("middle")[0].gather(middle),
            _vocabulary("given")[0].gather(given),
            separator=" ",
        )
    )
    return words.to_series().alias("full_name")


def _draw_words(rng: np.random.Generator, part: str, weights: Weights, size: int) -> Ints:
    places = np.asarray([_vocabulary(part)[1][word] for word in weights], dtype=np.int64)
    return places[draw(rng, list(weights.values()), size)]


@cache
def _last_words() -> Ints:
    """For each middle name the place of its last word among the given names, or -1."""
    places = _vocabulary("given")[1]
    return np.asarray([places.get(word.split()[-1], -1) for word in _vocabulary("middle")[0]], dtype=np.int64)
