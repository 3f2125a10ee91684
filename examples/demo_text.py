"""The texts of the demo that stand without a picture: documents and conversations."""

DOCUMENTS = (
    "A digital picture is a grid of small squares, called pixels. Each pixel has one colour, "
    "most often written as three numbers from 0 to 255: how much red, green and blue it has. A "
    "picture of 640 by 480 pixels has 307,200 of them, and needs 921,600 bytes before any "
    "compression.\n\nJPEG makes such a picture about ten times smaller. It throws away fine "
    "changes of colour that the eye hardly sees. PNG throws nothing away, and so its files are "
    "larger for photographs, but smaller for drawings and screenshots.",
    "A vision transformer cuts a picture into square patches, for instance of 14 by 14 pixels, "
    "and turns each patch into a vector. A language model then reads these vectors like words. "
    "A large picture has more patches than a small one, so it costs more to read.",
    "Packing puts several short samples into one training sequence, one behind another, so that "
    "no place is wasted on padding. Attention is kept inside each sample, so the samples do not "
    "see each other. The order of the samples does not matter for the loss, but the sum of their "
    "lengths may not pass the capacity of the sequence.",
    "A photograph may carry a note that says how the camera was held. It is called the EXIF "
    "orientation, a number from 1 to 8. A program that ignores it shows the picture lying on its "
    "side, or in a mirror.",
    "Ein Bild sagt mehr als tausend Worte, heißt es. Wie viele Wörter ein Sprachmodell für ein "
    "Bild braucht, hängt von seiner Größe ab: ein kleines kostet einige Dutzend, ein großes über "
    "tausend.",
    "The pinhole camera is the simplest model of how a picture is made. Four numbers describe "
    "it: two focal lengths and the point where the axis meets the picture, all in pixels. Where "
    "the camera stood and where it looked is its pose: a rotation and a translation.",
)

CONVERSATIONS = (
    ("How many pixels has a picture of 100 by 50 pixels?", "5,000 pixels."),
    ("Which format keeps transparency, JPEG or PNG?", "PNG does; JPEG has no transparency."),
    (
        "A video has 24 frames a second and lasts 5 seconds. How many frames is that?",
        "24 × 5 = 120 frames.",
    ),
    ("What does RGB stand for?", "Red, green and blue."),
)
