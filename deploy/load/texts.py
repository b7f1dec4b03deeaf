"""What the clients ask about: sentences of our own, in languages that take the universal route."""

from __future__ import annotations

TEXTS = (
    "The home side scored twice in the last five minutes and won the cup in front of its fans.",
    "A new telescope on the mountain photographed a galaxy that nobody had ever seen before.",
    "Parliament voted late last night on a law that limits how fast rents may rise.",
    "Le vaccin sera distribué gratuitement dans toutes les écoles du pays dès le printemps.",
    "Les voyageurs attendent le train de nuit sur le quai depuis plus de trois heures.",
    "El equipo visitante empató en el último minuto gracias a un gol de cabeza del capitán.",
    "Los médicos recomiendan beber mucha agua y descansar cuando hace demasiado calor.",
    "O festival de música reuniu milhares de pessoas na praça principal da cidade.",
    "Il governo ha presentato ieri la nuova legge di bilancio alle due camere del parlamento.",
    "Die Forscher haben im Eis ein Bakterium gefunden, das ohne Licht und Wärme leben kann.",
    "Das Hotel liegt direkt am See und bietet im Sommer geführte Wanderungen in die Berge an.",
    "Rzeka wypływa z wysokich gór i wpada do morza niedaleko dużego portu na północy kraju.",
    "Врачи советуют делать прививку от гриппа каждую осень, особенно пожилым людям.",
    "Сборная выиграла золотую медаль в эстафете и установила новый мировой рекорд.",
    "Η κυβέρνηση ανακοίνωσε ότι οι εκλογές θα γίνουν την πρώτη Κυριακή του Ιουνίου.",
    "डॉक्टरों ने बच्चों को साफ पानी पीने और हाथ धोने की सलाह दी है।",
    "সরকার আগামী মাসে নতুন নির্বাচনের তারিখ ঘোষণা করবে বলে জানিয়েছে।",
    "Para ilmuwan menemukan spesies ikan baru di dasar laut yang sangat dalam.",
    "Takım ikinci yarıda attığı üç golle maçı kazandı ve finale yükseldi.",
    "Otobüsler sabah altıdan itibaren havaalanından şehir merkezine yolcu taşıyor.",
    "科学家在深海中发现了一种能够在黑暗中发光的新鱼类。",
    "这家酒店位于海边，游客可以从房间里看到日出。",
    "代表チームは延長戦の末に勝利し、二年ぶりに優勝を果たした。",
    "Tutkijat löysivät järven pohjasta tuhansia vuosia vanhan veneen, joka on säilynyt hyvin.",
)
