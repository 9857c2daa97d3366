"""Replies apart from what they quote, by client and by language."""

import time
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.quote_phrases import (
    FIELDS,
    FORWARDED,
    FROM_SENT,
    ORIGINAL,
    SENT_FROM,
    WROTE,
)
from noinfra.mail.reply import Extracted, extract, extract_html, extracted
from noinfra.mail.reply_lines import Kind, is_unmarked, kinds
from noinfra.mail.reply_parts import new_lines
from tests.pace import within

NEW = "Thanks, that works for us.\n\nSee you then!"
OLD = "When shall we meet?\n\nAnn"
QUOTED = "> When shall we meet?\n>\n> Ann"

INTRODUCTIONS = {
    "Gmail, English": "On Wed, May 1, 2024 at 10:00 AM Ann Lee <ann@example.com> wrote:",
    "Apple, English": "On May 1, 2024, at 10:00\u202fAM, Ann Lee <ann@example.com> wrote:",
    "Thunderbird, English": "On 5/1/24 10:00, Ann Lee wrote:",
    "Proton, English": "On Wednesday, May 1st, 2024 at 10:00, Ann <ann@example.com> wrote:",
    "Zoho": "---- On Wed, 01 May 2024 10:00:00 +0200 Ann Lee <ann@example.com> wrote ----",
    "Lotus": "-----Ann Lee/Example wrote: -----",
    "Gnus": "In message <87abc@example.com>, Ann Lee writes:",
    "Samsung": "Sent from Samsung Mobile Ann <ann@example.com> wrote:",
    "mailing list": "Ann Lee via Example Forum wrote:",
    "name and address": "Ann Lee (ann@example.com) wrote:",
    "old Gmail": "2024-05-01 10:00 GMT+02:00 Ann Lee <ann@example.com>:",
    "older Gmail": "2024/5/1 Ann Lee <ann@example.com>",
    "time first": '10:00 AM, May 1, 2024, "Ann Lee" <ann@example.com>:',
    "mail.ru": "Wed, 01 May 2024 14:00:51 +0400 от Ann Lee <ann@example.com>:",
    "Yandex": '01.05.2024, 10:00, "Ann Lee" <ann@example.com>:',
    "NetEase": 'At 2024-05-01 10:00:00, "Ann Lee" <ann@example.com> wrote:',
    "German, Gmail": "Am Mi., 1. Mai 2024 um 10:00 Uhr schrieb Ann <ann@example.com>:",
    "German, Apple": "Am 01.05.2024 um 10:00 schrieb Ann Lee <ann@example.com>:",
    "German, name first": "Ann Lee <ann@example.com> schrieb am Mi., 1. Mai 2024, 10:00:",
    "French": "Le mer. 1 mai 2024 à 10:00, Ann Lee <ann@example.com> a écrit :",
    "Spanish": "El mié, 1 may 2024 a las 10:00, Ann (<ann@example.com>) escribió:",
    "Catalan": "El dc., 1 de maig 2024, 10:00, Ann Lee <ann@example.com> va escriure:",
    "Galician": "O mér, 1 maio 2024 ás 10:00, Ann (<ann@example.com>) escribiu:",
    "Portuguese": "Em qua., 1 de mai. de 2024 às 10:00, Ann <ann@example.com> escreveu:",
    "Italian": "Il giorno mer 1 mag 2024 alle ore 10:00 Ann <a@example.com> ha scritto:",
    "Italian, In data": 'In data 1 maggio 2024 10:00:31 "Ann" <a@example.com> ha scritto:',
    "Dutch, Gmail": "Op wo 1 mei 2024 om 10:00 schreef Ann Lee <ann@example.com>:",
    "Dutch, Apple": (
        "Op 1 mei 2024, om 10:00 heeft Ann <ann@example.com> het volgende geschreven:"
    ),
    "Danish": "Den ons. 1. maj 2024 kl. 10.00 skrev Ann Lee <ann@example.com>:",
    "Norwegian": "ons. 1. mai 2024 kl. 10:00 skrev Ann Lee <ann@example.com>:",
    "Swedish": "Den ons 1 maj 2024 kl 10:00 skrev Ann Lee <ann@example.com>:",
    "Finnish": "ke 1. toukok. 2024 klo 10.00 Ann Lee (ann@example.com) kirjoitti:",
    "Icelandic": "Þann mið., 1. maí 2024 kl. 10:00 skrifaði Ann <ann@example.com>:",
    "Estonian": "Kuupäev K, 1. mai 2024 kell 10:00 kirjutas Ann <ann@example.com>:",
    "Latvian": "trešd., 2024. g. 1. maijs, plkst. 10:00 — Ann (<a@example.com>) rakstīja:",
    "Lithuanian": "2024-05-01, tr, 10:00 Ann Lee <ann@example.com> rašė:",
    "Polish": "śr., 1 maj 2024 o 10:00 Ann Lee <ann@example.com> napisał(a):",
    "Polish, Interia": "W dniu 2024-05-01 10:00:39 użytkownik Ann <a@example.com> napisał:",
    "Czech": "st 1. 5. 2024 v 10:00 odesílatel Ann Lee <ann@example.com> napsal:",
    "Slovak": "st 1. 5. 2024 o 10:00 Ann Lee <ann@example.com> napísal(a):",
    "Hungarian": "Ann Lee <ann@example.com> ezt írta (időpont: 2024. máj. 1., Sze, 10:00):",
    "Romanian": "În mie., 1 mai 2024 la 10:00, Ann Lee <ann@example.com> a scris:",
    "Bulgarian": "На ср, 1.05.2024 г. в 10:00 Ann Lee <ann@example.com> написа:",
    "Serbian": "сре, 1. мај 2024. у 10:00 Ann <ann@example.com> је написао/ла:",
    "Croatian": "sri, 1. svi 2024. u 10:00 Ann Lee <ann@example.com> napisao je:",
    "Slovenian": "V V sre., 1. maj 2024 ob 10:00 je oseba Ann <a@example.com> napisala:",
    "Russian, Gmail": "ср, 1 мая 2024 г. в 10:00, Ann Lee <ann@example.com>:",
    "Russian, old Gmail": "среда, 1 мая 2024 г. пользователь Ann Lee написал:",
    "Russian, Thunderbird": "01.05.2024 10:00, Ann Lee пишет:",
    "Ukrainian": "ср, 1 трав. 2024 р. о 10:00 Ann Lee <ann@example.com> пише:",
    "Greek": "Στις Τετ 1 Μαΐ 2024 στις 10:00 π.μ., ο Ann <ann@example.com> έγραψε:",
    "Turkish": "Ann Lee <ann@example.com>, 1 May 2024 Çar, 10:00 tarihinde şunu yazdı:",
    "Vietnamese": "Vào 10:00, Th 4, 1 thg 5, 2024 Ann Lee <ann@example.com> đã viết:",
    "Indonesian": "Pada tanggal Rab, 1 Mei 2024 pukul 10.00 Ann <a@example.com> menulis:",
    "Thai": "เมื่อ พ. 1 พ.ค. 2024 เวลา 10:00 Ann Lee <ann@example.com> เขียนว่า:",
    "Hindi": "बुध, 1 मई 2024 को 10:00 पूर्वाह्न को Ann Lee <ann@example.com> ने लिखा:",
    "Japanese, Gmail": "2024年5月1日(水) 10:00 Ann Lee <ann@example.com>:",
    "Japanese, Apple": "2024/05/01 10:00、Ann Lee <ann@example.com>のメール:",
    "Chinese, Gmail": "Ann Lee <ann@example.com> 于2024年5月1日周三 10:00写道：",
    "Chinese, Apple": "在 2024年5月1日，10:00，Ann Lee <ann@example.com> 写道：",
    "Chinese, traditional": "Ann Lee <ann@example.com> 於 2024年5月1日 週三 上午10:00寫道：",
    "Korean": "2024년 5월 1일 (수) 오전 10:00, Ann Lee <ann@example.com>님이 작성:",
    "Hebrew": "\u202bבתאריך יום ד׳, 1 במאי 2024 ב-10:00 מאת \u202aAnn\u202c <ann@example.com>:",
    "Arabic": "في الأربعاء، 1 مايو 2024 في 10:00 ص تمت كتابة ما يلي بواسطة Ann <a@example.com>:",
    "a language that we do not know": "Zok 1 fub 2024 vi 10:00 Ann Lee <ann@example.com>:",
}

BLOCKS = {
    "English": ("From", "Sent", "To", "Subject"),
    "German": ("Von", "Gesendet", "An", "Betreff"),
    "French": ("De", "Envoyé", "À", "Objet"),
    "Spanish": ("De", "Enviado", "Para", "Asunto"),
    "Portuguese": ("De", "Enviada em", "Para", "Assunto"),
    "Italian": ("Da", "Inviato", "A", "Oggetto"),
    "Dutch": ("Van", "Verzonden", "Aan", "Onderwerp"),
    "Danish": ("Fra", "Sendt", "Til", "Emne"),
    "Swedish": ("Från", "Skickat", "Till", "Ämne"),
    "Finnish": ("Lähettäjä", "Lähetetty", "Vastaanottaja", "Aihe"),
    "Polish": ("Od", "Wysłano", "Do", "Temat"),
    "Czech": ("Od", "Odesláno", "Komu", "Předmět"),
    "Slovak": ("Od", "Odoslané", "Komu", "Predmet"),
    "Hungarian": ("Feladó", "Elküldve", "Címzett", "Tárgy"),
    "Romanian": ("De la", "Trimis", "Către", "Subiect"),
    "Russian": ("От", "Отправлено", "Кому", "Тема"),
    "Ukrainian": ("Від", "Надіслано", "Кому", "Тема"),
    "Bulgarian": ("От", "Изпратено", "До", "Относно"),
    "Greek": ("Από", "Στάλθηκε", "Προς", "Θέμα"),
    "Turkish": ("Kimden", "Gönderildi", "Kime", "Konu"),
    "Vietnamese": ("Từ", "Đã gửi", "Đến", "Chủ đề"),
    "Japanese": ("差出人", "送信日時", "宛先", "件名"),
    "Chinese": ("发件人", "发送时间", "收件人", "主题"),
    "Chinese, traditional": ("寄件者", "寄件日期", "收件者", "主旨"),
    "Korean": ("보낸 사람", "보낸 날짜", "받는 사람", "제목"),
    "Hebrew": ("מאת", "נשלח", "אל", "נושא"),
    "Arabic": ("من", "تم الإرسال", "إلى", "الموضوع"),
}

DEVICE_LINES = (
    *("Sent from my iPhone", "Sent from my Verizon Wireless 4G phone"),
    *("Sent from Mail for Windows 10", "Get Outlook for iOS<https://aka.ms/o0ukef>"),
    *("Von meinem iPhone gesendet", "Gesendet von Outlook für Android"),
    *("Envoyé de mon iPhone", "Télécharger Outlook pour Android"),
    *("Enviado desde mi iPhone", "Enviado do meu iPhone", "Inviato da iPhone"),
    *("Verstuurd vanaf mijn iPad", "Sendt fra min iPhone", "Skickat från min iPhone"),
    *("Lähetetty iPhonesta", "Wysłane z iPhone'a", "Odesláno z iPhonu"),
    *("Отправлено с iPhone", "Отправлено из мобильной Почты Mail.ru"),
    *("Надіслано з iPhone", "iPhone'umdan gönderildi", "Στάλθηκε από το iPhone μου"),
    *("Az iPhone-omról küldve", "Trimis de pe iPhone", "iPhoneから送信"),
    *(
        "发自我的iPhone",
        "從我的 iPhone 傳送",
        "나의 iPhone에서 보냄",
        "Đã gửi từ iPhone của tôi",
    ),
    *("נשלח מה-iPhone שלי", "أرسلت من الـ iPhone"),
)


def block(names: tuple[str, ...], *, bold: bool = False) -> str:
    values = ("Ann Lee <ann@example.com>", "1. 5. 2024 10:00", "Bob", "RE: Our meeting")
    mark = "*" if bold else ""
    return "\n".join(
        f"{mark}{name}:{mark} {value}"
        for name, value in zip(names, values, strict=True)
    )


class TextTests(SynchronousTestCase):
    def assertNew(self, text: str, new: str = NEW) -> None:
        self.assertEqual(extract(text), new)

    def test_introductions(self) -> None:
        """The quoted mail below an introduction goes, marked or not, in any language."""
        for name, line in INTRODUCTIONS.items():
            with self.subTest(name):
                self.assertNew(f"{NEW}\n\n{line}\n\n{OLD}\n")
                self.assertNew(f"{NEW}\r\n\r\n{line}\r\n{QUOTED}\r\n")
                self.assertNew(f"{NEW}\n{line}\n{QUOTED}")

    def test_wrapped_introductions(self) -> None:
        """An introduction may be wrapped over some lines, as Gmail does at 78 columns."""
        for name, line in INTRODUCTIONS.items():
            words = line.split(" ")
            if len(words) < 6 or name in ("older Gmail", "old Gmail", "mailing list"):
                continue
            for at in (len(words) // 2 + 1, len(words) - 2, len(words) - 1):
                with self.subTest(name, at=at):
                    wrapped = " ".join(words[:at]) + "\n" + " ".join(words[at:])
                    self.assertNew(f"{NEW}\n\n{wrapped}\n\n{QUOTED}\n")

    def test_blocks(self) -> None:
        """Outlook's block of header fields begins the quoted mail, in any language."""
        for name, fields in BLOCKS.items():
            with self.subTest(name):
                self.assertNew(f"{NEW}\n\n{block(fields)}\n\n{OLD}")
                self.assertNew(
                    f"{NEW}\n{'_' * 32}\n{block(fields, bold=True)}\n\n{OLD}"
                )
                self.assertNew(f"{NEW}\n\n-----x-----\n{block(fields)}\n\n{OLD}")

    def test_block_with_wrapped_field(self) -> None:
        """A field may go over several lines, and blank lines may stand between them."""
        fields = "From: Ann <a@example.com>\nTo: Bob;\n Carl;\n Dan\nSubject: x"
        self.assertNew(f"{NEW}\n\n{fields}\n\n{OLD}")
        self.assertNew(NEW + "\n\n" + fields.replace("\n", "\n\n") + f"\n\n{OLD}")

    def test_original_message(self) -> None:
        """Between dashes, the words for "original message" begin the quoted mail."""
        for phrase in ORIGINAL:
            with self.subTest(phrase):
                self.assertNew(f"{NEW}\n\n-----{phrase.title()}-----\n\n{OLD}")
                self.assertNew(f"{NEW}\n\n-------- {phrase} --------\n{OLD}")

    def test_forward_with_comment(self) -> None:
        """Of a forward with words of the writer, these are what is new."""
        for phrase in FORWARDED:
            with self.subTest(phrase):
                fields = block(BLOCKS["English"])
                self.assertNew(
                    f"{NEW}\n\n---------- {phrase} ---------\n{fields}\n\n{OLD}"
                )
                self.assertNew(f"{NEW}\n\n{phrase.capitalize()}:\n\n{QUOTED}")

    def test_pure_forward(self) -> None:
        """A forward without own words is all that its sender had to say."""
        fields = block(BLOCKS["English"])
        forward = f"---------- Forwarded message ---------\n{fields}\n\n{OLD}"
        self.assertNew(forward + "\n", forward)
        self.assertNew(f"{fields}\n\n{OLD}", f"{fields}\n\n{OLD}")

    def test_devices(self) -> None:
        """What a telephone adds to a mail goes, with or without a quote below."""
        for line in DEVICE_LINES:
            with self.subTest(line):
                self.assertNew(f"{NEW}\n\n{line}\n")
                self.assertNew(
                    f"{NEW}\n\n{line}\n\nOn 1/5/24 10:00, Ann wrote:\n{QUOTED}"
                )

    def test_signature(self) -> None:
        """The signature below "-- " goes, also where its space was lost."""
        self.assertNew(f"{NEW}\n\n-- \nBob Smith\nExample Inc.\n")
        self.assertNew(f"{NEW}\n--\nBob Smith\n")
        self.assertNew(f"{NEW}\n\n-- \nBob\n\nOn 1/5/24 10:00, Ann wrote:\n{QUOTED}")

    def test_closing_words_stay(self) -> None:
        """Regards are words that somebody wrote."""
        text = f"{NEW}\n\nBest regards,\nBob"
        self.assertNew(f"{text}\n\nOn 1/5/24 10:00, Ann wrote:\n{QUOTED}", text)

    def test_list_footer(self) -> None:
        """The footer of a mailing list is nobody's words."""
        footer = f"{'_' * 47}\nthings mailing list\nthings@lists.example.com\n"
        self.assertNew(f"{NEW}\n\n{footer}")

    def test_answer_below(self) -> None:
        """An answer below the quote is what is new."""
        self.assertNew(f"On 1/5/24 10:00, Ann wrote:\n{QUOTED}\n\n{NEW}\n")

    def test_answer_above_and_below(self) -> None:
        """So are words on both sides of it."""
        text = f"Hi,\n\nOn 1/5/24 10:00, Ann wrote:\n{QUOTED}\n\n{NEW}\n"
        self.assertNew(text, f"Hi,\n\n{NEW}")

    def test_answers_between(self) -> None:
        """Answers between quotes keep these, which they need; the last quote goes."""
        text = "On 1/5/24 10:00, Ann wrote:\n> One?\nYes.\n> Two?\nNo."
        self.assertNew(f"{text}\n\n> Ann\n", text)

    def test_chosen_quote(self) -> None:
        """A quote without introduction that the writer goes on from was their choice."""
        text = "The page says:\n\n> Tea is fine.\n\nI do not agree."
        self.assertNew(text, text)

    def test_only_quotes(self) -> None:
        """A mail of quotes says nothing new."""
        self.assertNew(f"On 1/5/24 10:00, Ann wrote:\n{QUOTED}\n", "")
        self.assertNew(QUOTED, "")
        self.assertNew("", "")

    def test_introduction_shares_line(self) -> None:
        """An introduction may begin on the line of the text."""
        line = "On Wed, May 1, 2024 at 10:00 AM, ann@example.com wrote:"
        self.assertNew(f"Thanks {line}\n{QUOTED}", "Thanks")

    def test_kept_as_written(self) -> None:
        """What only looks like the marks of quoting stays."""
        for text in (
            "On Monday he wrote: we are late.\nSo I called him.",
            "Here is what Bob wrote at 10:30 about it:\n\nWe are late.",
            "One: this\n- item\n- item two\n* item three\n\nTwo:\n1. x",
            "From: Paris\nTo: London\n\nI need a flight.",
            "Date: Wednesday\nTime: 7:00\nAddress: 130 Fox St\n\nBring your ID.",
            "```\n> not a quote\n# From: x\n-- \n```\nThat is the code.",
            "## Points\n----\n\n1. Faster\n\n----\n\nThat was all.",
            "The parcel was sent from our warehouse.\n\nIt arrives on Friday.",
            "Sent from the warehouse it is cheaper.\n\nIt arrives on Friday.",
            "a -- b, and on we go\nOn blah-blah",
            "-1 from me",
            "Please fill in:\nName:\nWhen:\nWhere:\nThanks",
            "See https://example.com/wrote: it is all there.",
        ):
            with self.subTest(text):
                self.assertNew(text, text)

    def test_long_text(self) -> None:
        """Marks are not looked for below the lines that people write; nothing is lost."""
        text = "\n".join(f"line {n}" for n in range(3000)) + "\n> last"
        self.assertNew(text, text)


class HtmlTests(SynchronousTestCase):
    def assertKept(self, html: str, kept: str) -> None:
        self.assertEqual(extract_html(html), kept)

    def test_nothing_to_drop(self) -> None:
        """HTML without quotes comes back as it was."""
        html = (
            "<html><head><style>p{}</style></head><body>\n<P class=x>Hi &amp; bye</P>"
        )
        self.assertKept(html, html)

    def test_gmail(self) -> None:
        """Gmail: div.gmail_quote holds introduction and quote, in any language."""
        for line in ("On 1/5/24 10:00, Ann wrote:", "Qwx zu Ann"):
            self.assertKept(
                '<div dir="ltr">Hi</div><br><div class="gmail_quote">'
                f'<div dir="ltr" class="gmail_attr">{line}<br></div>'
                '<blockquote class="gmail_quote"><p>Old</blockquote></div>',
                '<div dir="ltr">Hi</div><br>',
            )

    def test_gmail_answers_between(self) -> None:
        """Gmail: answers between quotes stand in div.gmail_quote, and stay."""
        html = (
            '<div>Hi</div><div class="gmail_quote"><div>On 1/5/24 10:00, Ann wrote:</div>'
            '<blockquote class="gmail_quote">One?</blockquote><div>Yes.</div>'
            '<blockquote class="gmail_quote">Two?</blockquote><div>No.</div></div>'
        )
        self.assertKept(html, html)

    def test_gmail_indentation(self) -> None:
        """Gmail: indented text is a blockquote, and the writer's own."""
        html = 'Hi<blockquote class="gmail_quote" style="border:none">Mine</blockquote>'
        self.assertKept(html, html)

    def test_gmail_forward(self) -> None:
        """Gmail: a pure forward is kept, a comment on a forward is what is new."""
        forward = (
            '<div class="gmail_quote">---------- Forwarded message ---------<br>'
            "From: Ann &lt;ann@example.com&gt;<br>Date: 1 May 2024<br>Subject: x<br><br>"
            "<p>Old</p></div>"
        )
        self.assertKept(forward, forward)
        self.assertKept(f"<p>Look</p>{forward}", "<p>Look</p>")

    def test_outlook(self) -> None:
        """Outlook: all below div#divRplyFwdMsg or #appendonsend is the quoted mail."""
        head = "<body><div>Hi<br></div>"
        for name in ("appendonsend", "divRplyFwdMsg", "x_divRplyFwdMsg"):
            self.assertKept(
                f'{head}<div id="{name}"></div><hr><div><b>Qwx:</b> Ann</div>'
                "<div>Old</div></body>",
                f"{head}</body>",
            )

    def test_outlook_desktop(self) -> None:
        """Outlook: a block of header fields below a border, in any language."""
        for fields in BLOCKS.values():
            block_ = "<br>".join(f"<b>{name}:</b> x@example.com" for name in fields)
            self.assertKept(
                "<body><div class=WordSection1><p class=MsoNormal>Hi</p>"
                "<div><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt'>"
                f"<p>{block_}</p></div></div><p>Old</p></div></body>",
                "<body><div class=WordSection1><p class=MsoNormal>Hi</p></div></body>",
            )

    def test_other_clients(self) -> None:
        """The elements by which other clients tell what they quote."""
        for name, html in {
            "Apple": '<br>On 1/5/24 10:00, Ann wrote:<br><blockquote type="cite">Old</blockquote>',
            "Thunderbird": '<div class="moz-cite-prefix">Qwx</div><blockquote type="cite" cite="mid:x">Old</blockquote>',
            "Yahoo": '<div id="y1" class="ydp1 yahoo_quoted"><div>Qwx</div><div>Old</div></div>',
            "Zimbra": '<hr id="zwchr" data-marker="__DIVIDER__"><div>Qwx</div><div>Old</div>',
            "Proton": '<div class="protonmail_quote">Qwx<br><blockquote>Old</blockquote><br></div>',
            "mail.ru": "Wed, 1 May 2024 10:00 +0400 от Ann &lt;ann@example.com&gt;:<br><blockquote>Old</blockquote>",
            "QQ": "<div>------------------&nbsp;原始邮件&nbsp;------------------</div><div>Old</div>",
            "Zoho": '<div class="zmail_extra">Qwx<br><div>Old</div></div>',
            "GMX": '<div name="quote" style="border-left:2px solid">Qwx<p>Old</div>',
            "Tutanota": '<blockquote class="tutanota_quote">Old</blockquote>',
            "Windows Live": '<hr id="stopSpelling">Qwx: x<br>Old',
            "Spark": '<div name="messageReplySection">Qwx<div>Old</div></div>',
        }.items():
            with self.subTest(name):
                new = extract_html(f"<body><p>Hi</p>{html}</body>")
                self.assertTrue(new.startswith("<body><p>Hi</p>"), new)
                self.assertNotIn("Old", new)
                self.assertNotIn("Qwx", new)
                self.assertTrue(new.endswith("</body>"), new)

    def test_signature(self) -> None:
        """The element that a client made for the signature goes, what follows stays."""
        self.assertKept(
            '<p>Hi</p><div class="gmail_signature">Bob<br>Example</div><p>P.S. Yes</p>',
            "<p>Hi</p><p>P.S. Yes</p>",
        )

    def test_common_words(self) -> None:
        """A class of a common name is no sign of quoting, an id is."""
        html = '<p>Hi</p><div class="quote">Mine</div><p class="signature">Mine</p>'
        self.assertKept(html, html)
        self.assertKept('<p>Hi</p><div id="Signature">Bob</div>', "<p>Hi</p>")

    def test_answer_below(self) -> None:
        """An answer below a blockquote stays; the head of the document does too."""
        self.assertKept(
            "<html><head><style>a</style></head><body>On 1/5/24 10:00, Ann wrote:"
            "<blockquote>Old</blockquote><div>New</div></body></html>",
            "<html><head><style>a</style></head><body><div>New</div></body></html>",
        )

    def test_only_quote(self) -> None:
        """HTML of nothing but a quoted mail has nothing new; one all indented stays."""
        self.assertKept("On 1/5/24 10:00, Ann wrote:<blockquote>Old</blockquote>", "")
        self.assertKept('<div class="yahoo_quoted">Old</div>', "")
        self.assertKept(
            "<blockquote>Mine</blockquote>", "<blockquote>Mine</blockquote>"
        )

    def test_preformatted(self) -> None:
        """Text in <pre> is judged line by line, and cut within."""
        self.assertKept(
            "<pre>New &amp; more\n\nOn 1/5/24 10:00, Ann wrote:\n&gt; Old\n</pre>",
            "<pre>New &amp; more\n</pre>",
        )

    def test_both(self) -> None:
        """Text and HTML are taken each from their own; a missing text from the HTML."""
        html = "<p>Hi &amp; so</p><blockquote>Old</blockquote>"
        self.assertEqual(
            extracted("Hi\n> Old", html),
            Extracted(text="Hi", html="<p>Hi &amp; so</p>"),
        )
        for text in (None, " \n"):
            self.assertEqual(extracted(text, html).text, "Hi & so")
        self.assertEqual(extracted("Hi", None), Extracted(text="Hi", html=None))
        self.assertEqual(extracted(None, None), Extracted(text="", html=None))


WORDS = st.text("abcdefg ,.\n", max_size=300)
MAILISH = st.lists(
    st.sampled_from(
        [
            *(
                "> quoted",
                ">",
                "",
                "",
                "Hello there",
                "-- ",
                "--",
                "_" * 32,
                "From: a@b.c",
            ),
            *("To: x", "Subject: y", "On 1 May 2024 at 10:00, Ann <a@b.c> wrote:"),
            *("wrote:", "Sent from my iPhone", "-----Original Message-----", "```"),
            *(
                "---------- Forwarded message ---------",
                "-Ann",
                "<mailto:x",
                "> wrote:",
            ),
        ]
    ),
    max_size=30,
).map("\n".join)
TAGGED = st.lists(
    st.sampled_from(
        [
            *(
                "<div>",
                "</div>",
                "<p>",
                "<blockquote>",
                "</blockquote>",
                "\u202a",
                "text",
                "<br>",
            ),
            *(
                "<div class=gmail_quote>",
                "<pre>",
                "</pre>",
                "a\nb",
                "<div id=appendonsend>",
            ),
            *(
                "<table><tr><td>",
                "</table>",
                "<div class=gmail_signature>",
                "<!--",
                "-->",
            ),
            *(
                "On 1/5/24 10:00, Ann wrote:",
                "<body>",
                "</body>",
                "&gt; x",
                "<hr>",
                "<a",
            ),
        ]
    ),
    max_size=30,
).map("".join)


ODD = st.sampled_from([*" \t\xa0\u200b(<[*_->:|#.\uff1a\u2013\u1427"])
BEGINNINGS = st.sampled_from(["2024-05-01 ", "posted by ", "1/2/2024", "x" * 990])
PHRASES = st.sampled_from(
    [*WROTE, *SENT_FROM, *FROM_SENT, *FIELDS, *ORIGINAL, "iPhone"]
)
# Lines that are marks, nearly marks, or have one within.
MARKED = st.lists(
    st.one_of(ODD, BEGINNINGS, PHRASES, PHRASES.map(str.upper), st.just("words ")),
    max_size=4,
).map("".join)


class PropertyTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=1000)
    @given(st.lists(MARKED, max_size=4))
    def test_unmarked(self, lines: list[str]) -> None:
        """Lines that seem to have no mark have none at a closer look, and all stay."""
        if is_unmarked(lines):
            found = kinds(lines)
            self.assertLessEqual(set(found), {Kind.TEXT, Kind.EMPTY})
            for choosable in (False, True):
                self.assertTrue(all(new_lines(lines, found, choosable=choosable)))

    def test_prose_is_unmarked(self) -> None:
        """What most mails hold is known without a closer look."""
        prose = [
            "In the end we met.",
            "",
            "(At 10:30, in Paris; see https://a.example)",
        ]
        self.assertTrue(is_unmarked([*prose, "\tSee you soon, naïve as ever"]))
        self.assertFalse(is_unmarked(["", " "]))

    @settings(deadline=None, max_examples=200)
    @given(st.one_of(st.text(), MAILISH))
    def test_lines_come_from_input(self, text: str) -> None:
        """Every line of the result is one of the input, or its beginning, in order."""
        rest = iter(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        for line in extract(text).split("\n"):
            self.assertTrue(any(line.strip() in there for there in rest), (text, line))

    @settings(deadline=None, max_examples=100)
    @given(WORDS)
    def test_nothing_lost(self, text: str) -> None:
        """A text without any mark of quoting is kept whole."""
        self.assertEqual(extract(text), text.strip())

    def test_all_tags_kept(self) -> None:
        """Two dropped stretches that touch keep the tags of both that have no partner."""
        html = "<b><i>Hello</i></b><p>-Ann Smith</b></i></p></u>Sent from my iPhone"
        self.assertEqual(extract_html(html), "<b><i>Hello</i></b></b></i></u>")

    @settings(deadline=None, max_examples=200)
    @given(st.one_of(st.text(), TAGGED, MAILISH))
    def test_html_total(self, html: str) -> None:
        """Any HTML has a new part, made of pieces of it, in order."""
        new = extract_html(html)
        position = 0
        for character in new:
            position = html.index(character, position) + 1


def slower(
    function: Callable[[str], object], inputs: dict[str, str], limit: float
) -> dict[str, float]:
    """The inputs that take more milliseconds of processor time, at the best of three."""
    slow: dict[str, float] = {}
    for name, text in inputs.items():
        for _ in range(3):
            start = time.process_time()
            function(text)
            spent = (time.process_time() - start) * 1000
            if spent < within(limit):
                slow.pop(name, None)
                break
            slow[name] = min(spent, slow.get(name, spent))
    return slow


HOSTILE = {
    "quote marks": ">" * 1_000_000,
    "quoted lines": ">\n" * 500_000,
    "openings": "On \n" * 100_000,
    "openings on a line": "On " * 300_000,
    "fields on a line": "From:" * 50_000,
    "fields": "From: x\n" * 100_000,
    "fields of two": "Date: a\n\nTo: b\n\n" * 30_000,
    "spaces": "a" + " " * 1_000_000 + "b",
    "lines of spaces": (" " * 1000 + "\n") * 1000,
    "introductions": "On 2020 x wrote:\n" * 60_000,
    "long introductions": ("On " + "a b " * 70 + "wrote:\n") * 3000,
    "introductions in text": ("x On ab, 1 " * 90 + "wrote:\n") * 1000,
    "names": ("a " * 140 + "<x@:\n") * 3000,
    "colons": (":" * 999 + "\n") * 1000,
    "rules": ("_" * 32 + "\n") * 30_000,
    "fences": "```\n" * 250_000,
    "signatures": "x\n" + "-- \n" * 300_000,
    "signatures and text": ("a\n-- \n" + "b\n" * 31) * 20_000,
    "devices": "x\n" + "Sent from my iPhone x y z\n" * 60_000,
    "answers between": "> a\nb\n" * 100_000,
    "wrapped quotes": ("> " + "a" * 80 + "\nb\n") * 10_000,
    "blank lines": "\r\n" * 500_000,
    "carriage returns": "\r" * 1_000_000,
    "one long line": "x" * 5_000_000,
}


class SpeedTests(SynchronousTestCase):
    def test_hostile_texts(self) -> None:
        """No text takes 10 ms (asserted with slack for a machine that has others)."""
        self.assertEqual(slower(extract, HOSTILE, 25), {})

    def test_hostile_html(self) -> None:
        """Nor does half a megabyte of hostile HTML take a second."""
        size = 500_000
        slow = slower(
            extract_html,
            {
                part: part * (size // len(part))
                for part in (
                    *("<div>", "<blockquote>x", "<!--", "<![", "<a ", '<a b="', "&amp"),
                    *("</p>", "<div class=gmail_quote>x", "<pre>\n", "<td>x", "x<br>"),
                    *(
                        "<blockquote>a</blockquote>b",
                        "<p style='display:none'>x",
                        "From:",
                    ),
                    *("<b>From:</b> x<br>", "<div>x</p></b>", "<div id=appendonsend>"),
                )
            },
            1000,
        )
        self.assertEqual(slow, {})
