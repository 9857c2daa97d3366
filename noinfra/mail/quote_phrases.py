"""What mail clients write around the mail that they quote, language by language.

These are facts about Gmail, Outlook, Apple Mail, Thunderbird, Yahoo, Zimbra, Proton,
mail.ru, QQ, NetEase, Zoho, Lotus and their kin. All is case-folded, without the dashes,
asterisks and colons around it. A language that is missing here is mostly still
understood: a date, an address and a colon make an introduction in any of them.
"""

# "On 1 May 2024, Ann wrote:": the verb, which stands last, or before the name.
WROTE = (
    *("wrote", "writes", "has written", "said", "says", "sent"),
    *("schrieb", "schrieben sie", "geschrieben", "schreibt"),
    *("a écrit", "a ecrit", "écrit", "écrivait", "nous a dit"),
    *("escribió", "escribio", "ha escrito", "va escriure", "ha escrit", "escribiu"),
    *("escreveu", "ha scritto", "scrisse", "scriveva", "scrive"),
    *("schreef", "het volgende geschreven", "heeft geschreven", "verzond"),
    *("skrev", "følgende", "skrifaði", "kirjoitti", "kirjutas"),
    *("napisał(a)", "napisał", "napisała", "napisali", "pisze"),
    *("napsal(a)", "napsal", "napsala", "napísal(a)", "napísal", "napísala", "píše"),
    *("написал(а)", "написал", "написала", "пишет", "писал", "писала"),
    *("написав(ла)", "написав", "написала", "пише", "написа", "је написао/ла"),
    *("je napisao/la", "napisao je", "napisala je", "je napisao", "je napisala"),
    *("je napisal", "napisal", "napisala", "rakstīja", "rašė", "parašė"),
    *("yazdı", "şunu yazdı", "şunları yazdı", "έγραψε", "írta", "ezt írta"),
    *("a scris", "menulis", "đã viết", "viết", "เขียนว่า", "เขียน", "ने लिखा"),
    *("写道", "寫道", "写信给", "撰寫"),
    *("撰写", "のメッセージ", "のメール", "は書きました"),
    *("作成", "님이 작성", "작성"),
    *("썼습니다", "님이 쓴 글", "님이 다음을 작성했습니다"),
    *("כתב", "כתבה", "כתב/ה", "מאת", "كتب", "كتبت", "كتب/ت", "بواسطة", "نوشت"),
)

# The word that opens an introduction, where a date or a name follows it.
OPENING = (
    *(
        "on",
        "at",
        "in message",
        "þann",
        "am",
        "vom",
        "le",
        "el",
        "il",
        "il giorno",
        "in data",
    ),
    *("em", "no dia", "op", "den", "på", "dne", "dňa", "dnia", "w dniu", "a(z)", "în"),
    *("pe", "la", "la data de", "u", "dana", "στισ", "vào", "lúc", "vào lúc"),
    *("pada", "pada tanggal", "в", "на", "kuupäeval", "o", "o dia", "en", "în data de"),
    *("在", "于", "ב", "ב-", "בתאריך", "في", "بتاريخ", "เมื่อ", "ons", "tor", "fre"),
)

# "-----Original Message-----": what stands between the dashes.
ORIGINAL = frozenset(
    (
        *("original message", "original mail", "original e-mail", "original email"),
        *("original appointment", "reply message", "original", "message reply"),
        *("ursprüngliche nachricht", "originalnachricht", "original-nachricht"),
        *("originalmeldung", "ursprüngliche mail", "antwort nachricht"),
        *("message original", "message d'origine", "message d’origine"),
        *("message initial", "courriel original", "mensaje original"),
        *("correo original", "missatge original", "mensagem original"),
        *("messaggio originale", "messaggio original", "oorspronkelijk bericht"),
        *("origineel bericht", "oorspronkelijke bericht", "oprindelig meddelelse"),
        *("oprindelig besked", "original meddelelse", "opprinnelig melding"),
        *("originalmelding", "opprinnelig e-post", "ursprungligt meddelande"),
        *("originalmeddelande", "ursprungligt mail", "alkuperäinen viesti"),
        *("wiadomość oryginalna", "oryginalna wiadomość", "wiadomość pierwotna"),
        *("původní zpráva", "původní e-mail", "pôvodná správa", "eredeti üzenet"),
        *("mesaj original", "mesajul original", "mesaj inițial", "orijinal ileti"),
        *("orijinal mesaj", "özgün ileti", "αρχικό μήνυμα", "original poruka"),
        *("originalna poruka", "izvorna poruka", "izvirno sporočilo", "algne kiri"),
        *("izvorno sporočilo", "oriģinālais ziņojums", "originalus laiškas"),
        *("исходное сообщение", "оригинальное сообщение", "исходное письмо"),
        *("оригинално съобщение", "оригінальне повідомлення", "вихідне повідомлення"),
        *("початкове повідомлення", "изворна порука", "thư gốc", "tin nhắn gốc"),
        *("pesan asli", "mesej asal", "ข้อความต้นฉบับ", "ข้อความเดิม"),
        *("原始邮件", "原始郵件", "原邮件", "原郵件", "原始邮件信息", "邮件原件"),
        *("回复的原邮件", "回复的邮件", "原始信件", "原文", "元のメッセージ"),
        *("オリジナルメッセージ", "元のメール", "원본 메시지", "원본 메일", "원본메일"),
        *("original message follows", "הודעה מקורית", "ההודעה המקורית"),
        *("الرسالة الأصلية", "رسالة أصلية", "پیام اصلی"),
    )
)

# "---------- Forwarded message ---------" and "Begin forwarded message:".
FORWARDED = frozenset(
    (
        *("forwarded message", "begin forwarded message", "forwarded mail", "fwd"),
        *("forwarded by", "forwarded email", "start of forwarded message"),
        *("weitergeleitete nachricht", "anfang der weitergeleiteten nachricht"),
        *("anfang der weitergeleiteten e-mail", "weitergeleitete e-mail"),
        *("message transféré", "début du message transféré", "message réexpédié"),
        *("début du message réexpédié", "courriel transféré", "mensaje reenviado"),
        *("inicio del mensaje reenviado", "missatge reenviat", "mensaxe reenviada"),
        *("mensagem encaminhada", "mensagem reencaminhada", "messaggio inoltrato"),
        *("início da mensagem encaminhada", "início da mensagem reencaminhada"),
        *("inizio messaggio inoltrato", "doorgestuurd bericht"),
        *("begin doorgestuurd bericht", "videresendt meddelelse", "videresendt besked"),
        *("start på videresendt besked", "videresendt melding", "välitetty viesti"),
        *("videresendt e-post", "vidarebefordrat meddelande", "edelleen lähetetty"),
        *("vidarebefordrat brev", "start på videresendt melding"),
        *("påbörjat vidarebefordrat brev", "början på vidarebefordrat meddelande"),
        *("välitetty viesti alkaa", "przekazana wiadomość", "wiadomość przekazana"),
        *("początek przekazywanej wiadomości", "přeposlaná zpráva"),
        *("začátek přeposílané zprávy", "preposlaná správa", "továbbított üzenet"),
        *("továbbított levél kezdete", "mesaj redirecționat", "iletilmiş mesaj"),
        *("mesaj redirecționat", "iletilen ileti", "yönlendirilmiş mesaj"),
        *("iletilen mesaj başlangıcı", "προωθημένο μήνυμα", "proslijeđena poruka"),
        *("posredovano sporočilo", "edastatud kiri", "pārsūtīta ziņa"),
        *("пересланное сообщение", "пересылаемое сообщение", "переслане повідомлення"),
        *("начало переадресованного сообщения", "препратено съобщение"),
        *("пересланное письмо", "прослеђена порука", "thư đã chuyển tiếp"),
        *("tin nhắn được chuyển tiếp", "pesan terusan", "ข้อความที่ส่งต่อ"),
        *("转发的邮件", "转发邮件信息", "转发邮件"),
        *("轉寄郵件", "轉寄的郵件", "开始转发的邮件"),
        *("下面是被转发的邮件", "转发的消息", "転送メッセージ", "転送されたメッセージ"),
        *("転送メール", "전달된 메시지", "전달된 메일"),
        *("הודעה מועברת", "הודעה שהועברה"),
        *("رسالة معاد توجيهها", "رسالة محولة", "الرسالة المعاد توجيهها"),
    )
)

# "From: … Sent: … To: … Subject: …": the names of the fields, by what they mean.
FIELDS: dict[str, str] = {
    name: meaning
    for meaning, names in {
        "from": (
            *("from", "von", "de", "expéditeur", "da", "mittente", "van", "afzender"),
            *("fra", "från", "lähettäjä", "od", "nadawca", "odesílatel", "odosielateľ"),
            *("от", "от кого", "від", "від кого"),
            *("kimden", "gönderen", "από", "feladó"),
            *("de la", "dari", "từ", "người gửi", "จาก"),
            *("発信者", "差出人", "送信者", "发件人"),
            *("寄件者", "寄件人", "發件人", "보낸 사람"),
            *("보낸사람", "발신", "발신자", "מאת"),
            *("من", "المرسل", "remitente", "remetente", "absender", "pošiljatelj"),
            *("saatja", "no", "nuo", "šalje"),
            *("pošiljalac", "od:", "lähetti", "από τον"),
            *("posted by", "frá", "desde"),
        ),
        "date": (
            *("date", "sent", "received", "on", "gesendet", "datum", "envoyé", "le"),
            *("gesendet am", "envoyé le", "message du", "envoyée", "enviado", "fecha"),
            *("enviado el", "enviado em", "enviada em", "enviada", "data", "dia"),
            *("inviato", "verzonden", "verzonden op", "sendt", "dato", "skickat"),
            *("lähetetty", "päivämäärä", "pvm", "wysłano", "wysłane", "odesláno"),
            *("odoslané", "dátum", "дата", "отправлено", "отправлена", "надіслано"),
            *("когда", "изпратено", "послато"),
            *("gönderildi", "tarih", "gönderme tarihi"),
            *("στάλθηκε", "ημερομηνία", "ημ/νία", "elküldve", "elküldés", "küldve"),
            *("trimis", "data trimiterii", "poslano", "poslato", "saadetud", "kuupäev"),
            *("nosūtīts", "išsiųsta", "terkirim", "tanggal", "dikirim", "đã gửi"),
            *("ngày", "ngày gửi", "gửi", "ส่ง", "วันที่"),
            *("送信日時", "日時", "日付", "送信日"),
            *("发送时间", "发送日期", "日期", "时间"),
            *("傳送時間", "寄件日期", "发送", "發送時間"),
            *("보낸 날짜", "보낸날짜", "날짜", "발신일"),
            *("נשלח", "תאריך", "التاريخ", "تاريخ"),
            *("تم الإرسال", "تاريخ الإرسال", "إرسال", "tid", "enviat", "send"),
        ),
        "to": (
            *("to", "an", "à", "a", "pour"),
            *("destinataire", "para", "aan", "naar", "til"),
            *("till", "vastaanottaja", "kenelle", "do", "adresat", "komu", "pre", "до"),
            *("кому", "до кого", "kime", "alıcı", "προσ", "címzett", "către", "catre"),
            *("kepada", "ke", "đến", "tới", "người nhận"),
            *("ถึง", "宛先", "受信者", "收件人"),
            *("收件者", "받는 사람", "받는사람", "수신", "수신자"),
            *("אל", "إلى", "الى", "per a"),
            *("za", "prima", "kam", "kellele", "saaja", "kuri", "kam:", "empfänger"),
            *("destinatario", "destinatário", "prejemnik", "adressat", "viðtakandi"),
        ),
        "subject": (
            *("subject", "re", "betreff", "objet", "sujet", "asunto", "assunto"),
            *("oggetto", "onderwerp", "emne", "ämne", "aihe", "temat", "předmět"),
            *("predmet", "тема", "предмет", "относно", "konu", "θέμα", "tárgy"),
            *("subiect", "subiectul", "subjek", "perihal"),
            *("judul", "chủ đề", "tiêu đề"),
            *("เรื่อง", "หัวเรื่อง", "件名", "主题", "主題"),
            *("主旨", "제목", "נושא", "الموضوع"),
            *("naslov", "zadeva", "teema", "tēma", "tema", "assumpte", "efni", "موضوع"),
        ),
        "cc": (
            *("cc", "bcc", "kopie", "kopia", "kopi"),
            *("kopio", "copie à", "copie", "cci"),
            *("copia", "cópia", "cco", "dw", "udw", "kópia", "копия", "копія", "bilgi"),
            *("κοιν", "másolatot kap", "tembusan", "đồng gửi", "สำเนา", "抄送", "副本"),
            *("참조", "עותק", "نسخة", "kop", "kopē"),
            *("koopia", "ccn", "复制", "hidden cc"),
        ),
        "other": (
            *("reply-to", "reply to", "antwort an", "répondre à", "responder a"),
            *("rispondi a", "beantwoorden - aan", "risposta", "ответить", "返信先"),
            *("importance", "priority", "wichtigkeit", "priorität", "attachments"),
            *("anlagen", "anhänge", "anhang", "organization", "organisation"),
            *("pièces jointes", "bijlagen", "vedhæftet", "bilagor", "附件", "添付"),
            *("mailing list", "list", "mailed-by", "signed-by", "security", "when"),
            *("where", "required attendees", "message-id"),
            *("organización", "vedhæftede"),
            *("organisatie", "组织", "wichtigkeit", "importancia", "importância"),
        ),
    }.items()
    for name in names
}

# "Sent from my iPhone": how such a line begins, or in some languages ends.
SENT_FROM = (
    *("sent from ", "sent via ", "sent with ", "sent by ", "gesendet von "),
    *("sent using ", "get outlook for ", "get bluemail for "),
    *("download outlook ", "from my iphone", "from my ipad", "from my android"),
    *("von meinem ", "gesendet von meinem ", "gesendet mit ", "gesendet von outlook"),
    *("gesendet von mail ", "gesendet von yahoo "),
    *("gesendet von der ", "holen sie sich"),
    *("gesendet von iphone", "gesendet aus ", "outlook für android", "outlook für ios"),
    *("diese nachricht wurde von meinem ", "envoyé de mon ", "envoyé depuis mon "),
    *("envoyé depuis ", "envoyé à partir d", "envoyé avec ", "télécharger outlook "),
    *("obtenez outlook ", "enviado desde mi ", "enviado desde ", "obtener outlook "),
    *("enviat des ", "descargar outlook ", "obtenga outlook ", "enviado do meu "),
    *("enviado a partir do ", "enviado via ", "obter o outlook ", "enviado pelo "),
    *("inviato da ", "inviato dal mio ", "scarica outlook ", "ottieni outlook "),
    *("verzonden vanaf ", "verstuurd vanaf ", "verzonden met ", "outlook downloaden"),
    *("verzonden vanuit ", "download outlook voor ", "sendt fra ", "hent outlook "),
    *("skaff deg outlook ", "skickat från ", "från min ", "hämta outlook "),
    *("skickat via ", "lähetetty ", "hanki outlook ", "wysłano z ", "wysłane z "),
    *("pobierz outlook", "pobierz program outlook", "odesláno z ", "odoslané z "),
    *("stáhnout outlook", "získat outlook", "отправлено с ", "отправлено из "),
    *("скачать outlook", "получить outlook", "надіслано з ", "відправлено з "),
    *("отримати outlook", "изпратено от ", "poslano s ", "poslano z ", "poslato sa "),
    *("trimis de pe ", "trimis din ", "στάλθηκε από ", "εστάλη από ", "küldve a "),
    *("elküldve a ", "az iphone-omról küldve", "được gửi từ ", "đã gửi từ "),
    *("gửi từ ", "tải outlook ", "dikirim dari ", "saadetud minu ", "nosūtīts no "),
    *(
        "išsiųsta iš ",
        "ส่งจาก",
        "发自我的",
        "发自",
        "發自",
    ),
    *(
        "发送自",
        "傳送自",
        "寄件自",
        "获取 outlook",
        "取得 outlook",
    ),
    *("נשלח מ", "أرسلت من", "أُرسلت من", "مرسل من", "تم الإرسال من", "iphone'umdan"),
    *("ipad'imden", "outlook for ios を入手", "outlook for android を入手"),
)
SENT_FROM_MY = (
    *("sent from my ", "from my ", "von meinem ", "gesendet von meine"),
    *("envoyé de mon ", "envoyé depuis mon ", "enviado desde mi ", "enviado do meu "),
    *("inviato dal mio ", "verzonden vanaf mijn ", "verstuurd vanaf mijn "),
    *("sendt fra min ", "skickat från min ", "wysłane z mojego ", "odesláno z mého "),
)
FROM_SENT = (
    *("から送信", "より送信", "から送信されました", "에서 보냄", "에서 보냈습니다"),
    *("傳送", "发送", "寄出", "gönderildi", "gesendet", "küldve", "from mobile"),
)
# What makes such a line sure: without one of these it may be a sentence.
DEVICES = (
    *("iphone", "ipad", "ipod", "android", "blackberry", "galaxy", "samsung", "huawei"),
    *("xiaomi", "oneplus", "pixel", "nokia", "windows", "outlook", "yahoo", "gmail"),
    *("protonmail", "proton mail", "icloud", "aol", "tutanota", "airmail", "spark"),
    *("bluemail", "k-9", "mailspring", "thunderbird", "sparrow", "mobil", "móvil"),
    *("celular", "smartphone", "phone", "portable", "tablet", "handy", "cellulare"),
    *("telefon", "teléfono", "téléphone", "téléfono", "mobiel", "телефон", "смартфон"),
    *("mail.ru", "mail for ", "mail app", "mail für "),
    *("手机", "手機", "スマートフォン", "휴대"),
)

# The footers of mailing lists, which follow a line of underscores.
LIST_FOOTER = ("mailing list", "mailman/listinfo", "unsubscribe", "listinfo/")
