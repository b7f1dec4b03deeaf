"""Simplified or traditional: by the text's own characters, where a label says only Han."""

from __future__ import annotations

# Frequent characters, simplified and traditional, of which either is seldom seen in texts of the
# other kind. Those that traditional texts use in another sense (后, 里, 云, ...) are left out.
_PAIRS = """
这這 们們 个個 国國 来來 时時 说說 会會 对對 发發 过過 还還 没沒 样樣 为為 学學 开開 当當 经經
现現 进進 动動 问問 让讓 从從 给給 见見 长長 种種 头頭 间間 关關 应應 该該 体體 话話 边邊 电電
门門 马馬 车車 书書 东東 无無 认認 两兩 几幾 机機 员員 场場 图圖 风風 飞飛 鱼魚 鸟鳥 点點 热熱
爱愛 气氣 产產 业業 务務 义義 亚亞 欧歐 难難 买買 卖賣 红紅 绿綠 级級 纪紀 约約 结結 统統 计計
论論 议議 设設 证證 评評 识識 词詞 语語 请請 谢謝 读讀 谁誰 调調 课課 谈談 谓謂 区區 县縣 厂廠
广廣 万萬 专專 丰豐 临臨 丽麗 举舉 乐樂 习習 乡鄉 亲親 亿億 仅僅 众眾 优優 伟偉 传傳 伤傷 价價
侧側 债債 倾傾 储儲 儿兒 兰蘭 兴興 养養 军軍 农農 冲衝 决決 况況 净淨 减減 击擊 创創 则則 刚剛
别別 剧劇 劳勞 势勢 励勵 医醫 华華 协協 单單 卫衛 压壓 厅廳 历歷 参參 双雙 变變 吗嗎 启啟 响響
园園 围圍 团團 圆圓 圣聖 坏壞 块塊 坚堅 执執 扩擴 扫掃 扬揚 报報 护護 担擔 拥擁 择擇 换換 据據
损損 摄攝 显顯 晓曉 术術 权權 条條 极極 构構 枪槍 标標 树樹 桥橋 检檢 欢歡 汇匯 汉漢 沟溝 济濟
浅淺 测測 浓濃 润潤 涨漲 湿濕 满滿 滩灘 灭滅 灯燈 灾災 灵靈 炉爐 烟煙 烧燒 状狀 独獨 猫貓 狱獄
环環 玛瑪 疗療 疯瘋 监監 盖蓋 盘盤 矿礦 码碼 础礎 确確 离離 积積 称稱 稳穩 穷窮 竞競 笔筆 签簽
简簡 类類 粮糧 紧緊 织織 终終 组組 细細 绍紹 绝絕 络絡 继繼 绩績 续續 维維 网網 罗羅 罚罰 职職
联聯 肤膚 肿腫 胁脅 脑腦 脚腳 脱脫 节節 苏蘇 荣榮 药藥 获獲 营營 虑慮 虽雖 虫蟲 补補 装裝 观觀
规規 视視 览覽 觉覺 触觸 订訂 训訓 记記 许許 访訪 译譯 试試 详詳 误誤 诉訴 诸諸 负負 财財 责責
败敗 货貨 质質 购購 贸貿 费費 资資 赛賽 赢贏 趋趨 跃躍 践踐 轨軌 转轉 轮輪 软軟 轻輕 载載 较較
辆輛 输輸 达達 迁遷 运運 违違 连連 迟遲 适適 选選 递遞 遗遺 邮郵 邻鄰 郑鄭 释釋 针針 钟鐘 钱錢
铁鐵 铜銅 银銀 销銷 锁鎖 错錯 镇鎮 镜鏡 闭閉 闻聞 阅閱 队隊 阳陽 阴陰 阵陣 阶階 际際 陆陸 陈陳
险險 随隨 隐隱 页頁 项項 顺順 须須 顾顧 顿頓 预預 领領 频頻 题題 颜顏 额額 饭飯 饮飲 饰飾 馆館
驶駛 驾駕 验驗 骗騙 鲜鮮 鸡雞 麦麥 黄黃 龙龍 齐齊 龄齡 尔爾 属屬 岁歲 帮幫 带帶 师師 帅帥 归歸
录錄 忆憶 怀懷 态態 总總 恋戀 恶惡 战戰 户戶 扑撲 抢搶 挥揮 挤擠 断斷 旧舊 暂暫 杀殺 杂雜 杨楊
栏欄 梦夢 残殘 毁毀 毕畢 洁潔 浏瀏 涂塗 渐漸 溃潰
"""
SIMPLIFIED = frozenset(pair[0] for pair in _PAIRS.split())
TRADITIONAL = frozenset(pair[1] for pair in _PAIRS.split())


def variant(text: str) -> str:
    """Return "Hant" where a text has more traditional characters than simplified, else "Hans"."""
    simplified = sum(character in SIMPLIFIED for character in text)
    traditional = sum(character in TRADITIONAL for character in text)
    return "Hant" if traditional > simplified else "Hans"
