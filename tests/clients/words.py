"""Common English words, by what a sentence needs them for.

Left out are words that sound like another (meat, flour, knight): no listener can tell them apart.
"""

from __future__ import annotations

import re

NOUNS = tuple(
    re.findall(
        r"\w+",
        """
        actor airport animal apple arm artist autumn baby basket bathroom battery bedroom
        bicycle bird blanket book bottle boy bridge brother brush bucket building bus butter
        button cabin camera candle captain carpet castle cat chicken child church circle city
        classroom clock cloud club coat coffee college color computer cook cotton country cousin
        cup curtain dancer daughter desk dinner doctor dog door dragon drawer driver duck ear
        egg elephant engine evening farm farmer father finger fire fish flag floor forest fork
        friend frog garden garage giant girl glass glove gold grandmother grass guitar hammer
        hand hat helmet hill hospital hotel house husband island jacket judge kettle kitchen
        kitten lake lamp lawyer leaf leather lemon letter library lion lunch magazine manager
        map market match menu milk minute mirror money monkey morning mother mountain mouse
        mouth movie museum neighbor nephew newspaper number nurse ocean office orange oven
        package painter paper parent park partner passenger pencil pepper picture pillow pilot
        planet plastic player pocket poem police potato president present prince problem
        professor rabbit radio restaurant ribbon river rocket roof sailor salad sandwich school
        scientist shelf shirt shop shoulder silver singer sister snake soap sofa soldier song
        soup spider spoon stage station stomach stone storm student sugar summer table teacher
        telephone television theater ticket tiger tomato tower town toy tractor train uncle
        village visitor wallet water weekend window winter wolf woman yard
        """,
    )
)

ADJECTIVES = tuple(
    re.findall(
        r"\w+",
        """
        angry beautiful big black bright broken brown busy careful cheap clean clever cold
        comfortable dark deep dirty dry easy empty expensive famous fast flat fresh friendly
        funny gentle golden good happy hard heavy hot huge hungry important kind large lazy
        light little local lonely long loud lucky modern narrow nervous nice old open orange
        perfect polite popular proud purple quick quiet rich round sad safe secret serious sharp
        short silent simple sleepy slow small smart soft special square strange strong sudden
        tall thick thin tiny tired ugly useful warm wet wide wild wonderful yellow young
        """,
    )
)

VERBS = tuple(
    re.findall(
        r"\w+",
        """
        bought brought built carried caught chose cleaned closed copied counted covered dropped
        enjoyed filled followed found forgot gave helped hid kept kissed left liked lifted lost
        loved moved needed noticed opened ordered painted paid picked pulled pushed remembered
        repaired returned saved showed shared sold stopped stole studied touched visited wanted
        washed watched welcomed
        """,
    )
)
