//! temp
pub struct Assets;
#[salvo::handler]
async fn x() {}
impl Assets {
    pub fn embedded() -> Self {
        Self
    }
    pub fn handler(self) -> impl salvo::Handler {
        x
    }
}
