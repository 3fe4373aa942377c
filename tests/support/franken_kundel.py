"""Ratings of the studies of Franken and others and of Kundel and others.

Standard examples of multi-reader analysis, as distributed with the R package MRMCaov 0.3.1.

Franken: four readers rated 100 patients, 67 of them with an abnormality, on conventional films and
on a digital workstation from 1 to 5. Franken EA Jr, Berbaum KS, Marley SM, and others. Evaluation
of a digital workstation for interpreting neonatal examinations. Invest Radiol 1992;27:732-737.

Kundel: four readers rated 95 patients, 29 of them diseased, on soft-copy and on hard-copy computed
radiographs from 1 to 5. Kundel HL, Gefter W, Aronchick J, and others. Accuracy of bedside chest
hard-copy screen-film versus hard- and soft-copy computed radiographs in a medical intensive care
unit. Radiology 1997;205:859-863. The patients who had screen-film images are others, and left out.
"""

from __future__ import annotations

import numpy as np

# One digit a patient.
FRANKEN_TRUTH = (
    "000000000000000000000000000000000111111111111111111111111"
    "1111111111111111111111111111111111111111111"
)
# One text for each reader, of the first and then of the second kind of images.
FRANKEN_RATINGS = (
    (
        "312222241142124212124232224322253525545155515452415535555"
        "4554352545354554455554543254545542535555145"
    ),
    (
        "423221342112222322413223313111122444444433434441334444444"
        "4342342444444444444444434114444433424444243"
    ),
    (
        "312221542132133224121222222123222555555521525352435555555"
        "5443353522253552255554552244554544425355235"
    ),
    (
        "421111521141111152112313114111411435555514315451245515555"
        "5551251544452551455554541221555552514555144"
    ),
    (
        "334311541231122213122322122222243525545415515241443553555"
        "5532253554353554554555552444555532544255334"
    ),
    (
        "311111342111111113313343113131132424444344414241414344444"
        "4443241441334433344443344343343444414344234"
    ),
    (
        "312222442322132423222224221222242445445335524343435425555"
        "5542453521255551355555543242555544515255344"
    ),
    (
        "134131311113111152112114124111411545555554515451515524555"
        "5553251544151551455551451421555523415155133"
    ),
)

# One digit a patient.
KUNDEL_TRUTH = (
    "000000000000000000000000000000000000000000000000000000000"
    "00000000011111111111111111111111111111"
)
# One text for each reader, of the first and then of the second kind of images.
KUNDEL_RATINGS = (
    (
        "111121112111211111111122121121511212152255411111221551422"
        "22223451141555245522455445542155125554"
    ),
    (
        "111111111111111111121111111421411221512151411111221111122"
        "11111511142255445554554141511141124511"
    ),
    (
        "411111111111111121121412231411111132552142211112141111122"
        "21122151214555455522444441553152125545"
    ),
    (
        "211111111212112111111112151112111112251154211224222541421"
        "52221355142255145535552255522254122554"
    ),
    (
        "111121121211111131111121221121111114422224311113241231213"
        "14425121122454225523553222554154424554"
    ),
    (
        "221111111111111111111211441111111121523252212122122411112"
        "21412111213255245535552425441151125552"
    ),
    (
        "111111111111112111111111121111111113112221221111551212242"
        "11111111213555255552555252554155145555"
    ),
    (
        "421212221222222111111111211211111111512154211415242221242"
        "43424221331454255543553342552254125514"
    ),
)


def _study(truth: str, ratings: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([[float(digit) for digit in text] for text in ratings])
    return scores.reshape(2, 4, len(truth)), np.array([int(digit) for digit in truth])


def franken_study() -> tuple[np.ndarray, np.ndarray]:
    """Return ratings [2 modalities, 4 readers, 100 patients] and truth [100]."""
    return _study(FRANKEN_TRUTH, FRANKEN_RATINGS)


def kundel_study() -> tuple[np.ndarray, np.ndarray]:
    """Return ratings [2 modalities, 4 readers, 95 patients] and truth [95]."""
    return _study(KUNDEL_TRUTH, KUNDEL_RATINGS)
