"""Pairs of reports and whether they tell of the same problem: invented and labelled by hand, so the numbers are
synthetic.

Each pair: two texts, metres and days between them, how their categories relate, and where both have photos the bits
between these; last, whether somebody at the operations centre would merge them.
"""

from typing import Literal, NamedTuple

Kind = Literal["same", "group", "other"]


class Pair(NamedTuple):
    one: str
    other: str
    metres: float
    days: float
    kind: Kind
    bits: int | None
    same: bool


def yes(one: str, other: str, metres: float, days: float, kind: Kind = "same", bits: int | None = None) -> Pair:
    return Pair(one, other, metres, days, kind, bits, same=True)


def no(one: str, other: str, metres: float, days: float, kind: Kind = "same", bits: int | None = None) -> Pair:
    return Pair(one, other, metres, days, kind, bits, same=False)


PAIRS = (
    # roads
    yes("Ổ gà to trước cổng trường tiểu học Núi Voi, xe máy ngã mấy lần", "o ga to truoc cong truong nui voi", 12, 1),
    yes("Mặt đường Hoàng Văn Thụ có hố sâu rất nguy hiểm", "ổ gà sâu trên đường hoàng văn thụ, ko ai sửa", 25, 4),
    yes("dduwowngf Beens Tuwowngj cos oor gaf raats to", "Đường Bến Tượng có ổ gà rất to", 18, 2),
    yes("đg Minh Cầu nát hết r, ổ gà khắp nơi", "Đường Minh Cầu xuống cấp, nhiều ổ gà, đi lại khó khăn", 60, 9),
    yes("Sụt lún mặt đường trước số nhà 45", "Trước nhà số 45 đường bị sụt một hố lớn", 8, 0, "group"),
    yes("QL3 km 72 có ổ voi, xe tải tránh lấn làn", "quoc lo 3 km 72 o voi nguy hiem", 40, 6),
    yes(
        "Duong vao xom Cay Thi nat qua xe khong di duoc", "Đường vào xóm Cây Thị hư hỏng nặng, xe không đi được", 85, 12
    ),
    no("Ổ gà trước cổng chợ Đồng Quang", "Biển báo cấm đỗ trước chợ Đồng Quang bị gãy", 22, 3, "group"),
    no("Ổ gà trước số nhà 12 đường Quang Trung", "Ổ gà trước số nhà 158 đường Quang Trung", 190, 2),
    no("Ổ gà đầu cầu Gia Bảy", "Đèn tín hiệu đầu cầu Gia Bảy không hoạt động", 30, 1, "group"),
    no("Đường Bắc Sơn có ổ gà lớn", "Xe tải đỗ dưới lòng đường Bắc Sơn gây ùn tắc", 45, 1, "group"),
    no("Ổ gà ngõ 3", "Ổ gà ngõ 17", 140, 20),
    # lamps and signals
    yes("Đèn đường trước nhà văn hóa tổ 5 hỏng cả tuần nay", "den duong nha van hoa to 5 ko sang", 20, 3),
    yes("ddeenf dduwowngf ngox 12 khoong sangs", "Đèn đường ngõ 12 không sáng, tối om", 10, 5),
    yes("Cột đèn số 27 tắt mấy hôm nay", "cột đèn 27 ko sáng mn ơi", 5, 2),
    yes("Cả dãy đèn đường Thống Nhất không sáng buổi tối", "Đoạn đường Thống Nhất tối om vì đèn hỏng", 70, 4),
    yes("đèn xanh đỏ ngã tư Phan Đình Phùng chết", "Đèn tín hiệu ngã tư Phan Đình Phùng không hoạt động", 15, 0),
    yes("Den tin hieu nga ba Bac Nam nhap nhay vang suot", "Đèn giao thông ngã ba Bắc Nam chỉ nháy vàng", 35, 1),
    no("Cột đèn số 27 không sáng", "Cột đèn số 41 không sáng", 160, 2),
    no("Đèn đường trước trường mầm non hỏng", "Vỉa hè trước trường mầm non bong gạch", 10, 2, "group"),
    no("Đèn đường ngõ 8 hỏng", "Nước thải chảy tràn ra ngõ 8, mùi hôi", 15, 1, "other"),
    no("Đèn tín hiệu ngã tư Gia Sàng chết", "Xe đỗ sai quy định ở ngã tư Gia Sàng", 28, 0, "group"),
    no("Đèn đường sáng cả ngày lãng phí điện ở công viên", "Ghế đá công viên bị đập vỡ", 40, 3, "group"),
    # manholes, pavements, drains, floods
    yes("Hố ga mất nắp trước số 12 Hoàng Văn Thụ, rất nguy hiểm", "nawps hoos ga bij maats truocws soos 12", 9, 0),
    yes("ho ga mat nap gan cho Thai", "Nắp hố ga cạnh chợ Thái bị mất, đề nghị lắp lại", 30, 1),
    yes("Hố ga vỡ nắp trước cửa hàng xăng dầu", "nắp cống trước cây xăng vỡ toác, xe máy sập bánh", 14, 1, "other"),
    yes("Cứ mưa là ngập ở ngã ba Mỏ Bạch", "ngập úng ngã ba mỏ bạch sau mưa, nước vào nhà", 65, 2),
    yes("Cống tắc, nước thải tràn ra đường Phú Thái", "nước cống tràn lên đường phú thái hôi lắm", 33, 3, "group"),
    yes("Ranh thoat nuoc xom Dong bi tac rac day", "Rãnh thoát nước xóm Đông đầy rác, tắc không thoát được", 48, 7),
    yes("Vỉa hè Lương Ngọc Quyến bong gạch, vấp ngã", "gach via he luong ngoc quyen bong het", 55, 10),
    yes("Nước ngập wa đầu gối trước bệnh viện A", "Trước Bệnh viện A ngập sâu, xe chết máy", 42, 0),
    no("Hố ga mất nắp trước số 12", "Hố ga mất nắp trước số 98", 170, 1),
    no("Ngập úng trước cổng bến xe", "Taxi dù tranh khách trước cổng bến xe", 25, 1, "other"),
    no("Cống tắc tổ 9 phường Quan Triều", "Rác tồn đọng tổ 9 phường Quan Triều", 35, 4, "other"),
    no("Vỉa hè trước ngân hàng bị đào bới chưa lát lại", "Hàng quán lấn chiếm vỉa hè trước ngân hàng", 12, 6, "other"),
    no("Hố ga có mùi hôi", "Mất nước sạch từ sáng", 50, 0, "other"),
    # rubbish, smoke, waste water
    yes("Rác không ai thu gom 4 ngày nay ở tổ 7", "to 7 rac thai ton dong boc mui, khong thu gom", 38, 1),
    yes(
        "Bãi rác tự phát cạnh mương, mùi hôi thối", "Người dân đổ trộm rác cạnh mương, hôi ko chịu nổi", 44, 8, "group"
    ),
    yes("Xe tải đổ trộm đất đá xuống bờ sông Cầu", "do trom dat da ra bo song cau luc dem", 90, 3),
    yes("Lò gạch xả khói đen cả ngày", "khoi lo gach den kit, kho tho qua", 110, 5),
    yes("Trại lợn xả nước thải ra suối", "Suối đen ngòm vì nước thải trại lợn", 95, 6),
    yes("Đốt rơm rạ khói mù mịt cánh đồng Phú Xá", "dot rom ra khoi mu mit ca xom phu xa", 120, 0),
    yes("Xác lợn chết trôi dưới kênh", "Lợn chết vứt xuống kênh bốc mùi", 50, 1),
    no("Rác tồn đọng trước chợ", "Ổ gà trước chợ", 15, 2, "other"),
    no("Khói từ xưởng gỗ", "Tiếng ồn máy cưa xưởng gỗ ban đêm", 20, 10, "other"),
    no("Đổ trộm phế thải xây dựng cạnh nghĩa trang", "Đèn nghĩa trang không sáng", 60, 15, "other"),
    no("Rác đầu ngõ 5 chưa thu gom", "Rác đầu ngõ 52 chưa thu gom", 180, 5),
    # noise and public order
    yes("hat karaoke ca ngay lan dem", "Hàng xóm hát karaoke suốt ngày đêm không ngủ được", 16, 2),
    yes("Quán bia Hải Xồm mở nhạc quá to sau 22h", "quán hải xồm nhạc to wa ko ngủ đc", 22, 6),
    yes("Loa kẹo kéo tổ 3 ồn ào mỗi tối", "loa keo keo o to 3 on lam moi toi", 30, 1),
    yes("Hàng ăn lấn chiếm vỉa hè phố Đội Cấn", "via he pho doi can bi hang an chiem het", 47, 9),
    yes("Quảng cáo dán kín cột điện ngã tư", "tờ rơi cho vay dán đầy cột điện ngã tư", 26, 14),
    no("Karaoke nhà văn hóa xóm Mới", "Nhà văn hóa xóm Mới bị dột", 12, 4, "other"),
    no("Quán nhậu ồn ào ban đêm", "Quán nhậu đổ nước thải ra đường", 8, 3, "other"),
    no("Lấn chiếm vỉa hè bán hoa quả", "Cây xanh đổ chắn vỉa hè", 34, 1, "other"),
    # power, water, cables, buildings, animals
    yes("Dây điện võng xuống sát đường, nguy hiểm", "day dien vong sat mat duong xom Trung", 28, 1),
    yes("Cột điện nghiêng sắp đổ trước trường THCS", "cot dien truoc truong thcs nghieng lam roi", 19, 2),
    yes("Mất nước từ sáng cả khu tập thể gang thép", "khu tập thể gang thép mất nước mấy hôm rồi", 75, 1),
    yes("Nước máy đục ngầu, có mùi", "nc máy đục, mùi tanh ko dùng đc", 130, 2),
    yes("Mất điện liên tục xóm Làng Vàng", "xom lang vang lai mat dien", 100, 1),
    yes("Nhà đang xây không phép ở lô 5 khu dân cư", "xay nha khong phep lo 5 khu dan cu", 13, 11),
    yes("Chó thả rông cắn người ở công viên", "cho tha rong o cong vien khong ro mom", 58, 5),
    yes("Cáp viễn thông đứt rơi xuống đường", "Dây cáp mạng rơi giữa đường vướng xe", 11, 0),
    no("Mất điện từ 18 giờ", "Mất nước từ 18 giờ", 40, 0, "group"),
    no("Cột điện nghiêng", "Trộm cắp cáp điện", 90, 30, "other"),
    no("Cáp viễn thông chùng thấp trước số 3", "Cây đổ vào dây điện trước số 31", 120, 8, "group"),
    no("Chó thả rông trong công viên", "Vòi nước uống công viên hỏng", 45, 5, "other"),
    no("Xây nhà không phép lô 5", "Xây nhà không phép lô 18", 150, 25),
    # photos decide
    yes("Chỗ này hỏng lâu rồi", "Đề nghị sửa sớm", 15, 3, "group", bits=4),
    yes("Nguy hiểm quá", "Có hố giữa đường", 40, 1, "same", bits=8),
    no("Hố giữa đường", "Rác đầy đường", 35, 1, "other", bits=30),
    # the same kind of problem close by, and yet another one: the hardest
    no("Nhà bà Tư hát karaoke loa thùng đến khuya", "Đám cưới đầu xóm mở nhạc ầm ĩ hôm nay", 80, 12),
    no("Cột điện nghiêng cạnh sân bóng", "Dây điện sà thấp sau nhà văn hóa", 95, 6),
    no("Rãnh thoát nước bị tắc trước nhà trẻ", "Cống ngầm ngoài đường lớn đầy bùn", 85, 20),
    no("Ghế đá công viên gãy", "Đài phun nước công viên không chạy", 75, 9),
    # alike in words, elsewhere or long ago
    no("Ổ gà to giữa đường", "Ổ gà to giữa đường", 900, 1),
    no("Đèn đường hỏng", "Đèn đường hỏng", 400, 0),
)
